"""A tiny BERT of sentence-transformers beside the GGUF files that llama.cpp's own converter makes of it: python sentences_gguf.py LLAMA_CPP, after sentences.py.

sentences/mean: the folder, f32.gguf, f16.gguf and q8_0.gguf, and golden.json: of texts their tokens and embeddings.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [sys.argv[1], os.path.join(sys.argv[1], "gguf-py")]

import torch
from conversion import ModelType, get_model_architecture, get_model_class
from conversion.base import ModelBase, gguf
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sentences")
PATH = os.path.join(OUT, "mean")
TEXTS = ["a man is playing the flute.", "The DOG runs", "playing", "search : dögs", "é ..", "the dog is a man . " * 4]


def convert(name, kind):
    made = get_model_class(get_model_architecture(ModelBase.load_hparams(Path(PATH), False), ModelType.TEXT))
    plain = type(made.__name__, (made,), dict(get_vocab_base_pre=lambda self, tokenizer: "default", model_arch=made.model_arch))
    with torch.inference_mode():
        plain(Path(PATH), kind, Path(PATH, name), model_name="tiny").write()


torch.manual_seed(4)
torch.set_num_threads(1)
shutil.rmtree(PATH, ignore_errors=True)
tokenizer = PreTrainedTokenizerFast.from_pretrained(os.path.join(OUT, "tiny"))
config = BertConfig(
    vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=40,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)
model = BertModel(config, add_pooling_layer=False)
with torch.no_grad():
    for name, p in model.named_parameters():
        p.normal_(1.0 if "LayerNorm.weight" in name else 0.0, 0.3)
with tempfile.TemporaryDirectory() as base:
    model.save_pretrained(base)
    text = json.loads(tokenizer.backend_tokenizer.to_str())
    text["normalizer"].update(lowercase=True, strip_accents=None)
    tokenizer.save_pretrained(base)
    with open(os.path.join(base, "tokenizer.json"), "w") as f:
        json.dump(text, f)
    sentences = SentenceTransformer(modules=[Transformer(base), Pooling(32, pooling_mode="mean"), Normalize()], device="cpu")
    sentences.save(PATH, create_model_card=False)
sentences = SentenceTransformer(PATH, device="cpu")
cases = [dict(text=t, tokens=sentences.tokenizer(t)["input_ids"], want=sentences.encode(t).tolist()) for t in TEXTS]
with open(os.path.join(PATH, "golden.json"), "w") as f:
    json.dump(cases, f)
    f.write("\n")
for name, kind in (("f32", 0), ("f16", 1), ("q8_0", 7)):
    convert(name + ".gguf", gguf.LlamaFileType(kind))
