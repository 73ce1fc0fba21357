"""Tiny encoders as the GGUF files that llama.cpp's own converter makes of them.

python encoders_gguf.py LLAMA_CPP, after encoders.py, sentences.py and nomicbert.py. It
wants transformers 4: the converter takes NomicBERT's configuration as it is published,
which transformers 5 reads as another.

encoders-gguf/modern-bert: model.gguf of encoders/modernbert, whose hidden states are
there, with a tokenizer built as ModernBERT's is, and tokens.json, texts and pairs with
their tokens. encoders-gguf/nomic-bert/model.gguf: of the folder beside it.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True
sys.path[:0] = [sys.argv[1], os.path.join(sys.argv[1], "gguf-py")]

import torch
from conversion import ModelType, get_model_architecture, get_model_class
from conversion.base import ModelBase, gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

ROOT = os.path.dirname(os.path.abspath(__file__))
TEXTS = [
    "the rain in the alder", "e\u0301 and \u00e9.", " than  a [MASK] there", "[MASK]", "",
    ["the rain", "in the air?"], ["e\u0301", " the [MASK]"],
]  # fmt: skip


def convert(folder, to, pre, pooling):
    """Run the converter, which would know the tokenizer by what it makes of a long text."""
    write(folder, "modules.json", [dict(idx=1, name="1", path="1_Pooling", type="sentence_transformers.models.Pooling")])
    os.mkdir(os.path.join(folder, "1_Pooling"))
    write(folder, "1_Pooling/config.json", {pooling: True})
    made = get_model_class(get_model_architecture(ModelBase.load_hparams(Path(folder), False), ModelType.TEXT))
    plain = type(made.__name__, (made,), dict(get_vocab_base_pre=lambda self, tokenizer: pre, model_arch=made.model_arch))
    with torch.inference_mode():
        plain(Path(folder), gguf.LlamaFileType.ALL_F32, Path(to), model_name="tiny").write()


def write(folder, name, value):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(value, f)


def modern_tokenizer():
    """As ModernBERT's: byte-level pieces, NFC, [CLS] text [SEP] other [SEP]."""
    pieces = ["<|endoftext|>", "[PAD]", "[UNK]", "[SEP]", "[CLS]", "[MASK]", *"Ġaehinorstdl", "Ã", "©", ".", "?"]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("Ġ", "a"), ("Ã", "©"), ("e", "r"), ("Ġ", "in"), ("a", "n"), ("Ġa", "i")]
    pieces += [a + b for a, b in merges]
    assert len(pieces) == 32
    t = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 4), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=t, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token=AddedToken("[MASK]", lstrip=True)
    )


def modern():
    to = "encoders-gguf/modern-bert"
    os.makedirs(to, exist_ok=True)
    tokenizer = modern_tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy("encoders/modernbert/model.safetensors", folder)
        tokenizer.save_pretrained(folder)
        with open("encoders/modernbert/config.json") as f:
            config = json.load(f)
        # As published: texts begin and end with tokens that classify and separate.
        write(folder, "config.json", {**config, "bos_token_id": 4, "eos_token_id": 3, "layer_norm_eps": 1e-5})
        convert(folder, f"{to}/model.gguf", "modern-bert", "pooling_mode_cls_token")
    cases = []
    for text in TEXTS:
        pair = text if isinstance(text, list) else [text]
        cases.append(dict(text=pair, tokens=tokenizer(*pair)["input_ids"]))
    with open(f"{to}/tokens.json", "w") as f:
        json.dump(cases, f)
        f.write("\n")


def nomic():
    of = "encoders-gguf/nomic-bert"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(f"{of}/model.safetensors", folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(f"sentences/tiny/{name}", folder)
        with open(f"{of}/config.json") as f:
            c = json.load(f)
        # As it is published, in the keys of the model's own code.
        write(folder, "config.json", dict(
            architectures=["NomicBertModel"], model_type="nomic_bert", vocab_size=c["vocab_size"], type_vocab_size=c["type_vocab_size"],
            n_embd=c["hidden_size"], n_inner=c["intermediate_size"], n_layer=c["num_hidden_layers"], n_head=c["num_attention_heads"],
            n_positions=8192, max_trained_positions=2048, layer_norm_epsilon=c["layer_norm_eps"], activation_function="swiglu", causal=False,
            qkv_proj_bias=False, mlp_fc1_bias=False, mlp_fc2_bias=False, prenorm=False,
            rotary_emb_base=c["rope_parameters"]["rope_theta"], rotary_emb_fraction=1.0, rotary_emb_interleaved=False, rotary_emb_scale_base=None,
        ))  # fmt: skip
        convert(folder, f"{of}/model.gguf", "default", "pooling_mode_mean_tokens")


os.chdir(ROOT)
modern()
nomic()
