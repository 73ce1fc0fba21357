"""What sentence-transformers makes of hidden states and of texts: python sentences.py [FOLDER].

sentences/pooling.json: rows, and what each pooling makes of them.
sentences/ranker: a cross-encoder, and golden.json, its scores of pairs.
sentences/tiny: a base with every kind of module, its prompts and a tokenizer, and golden.json, the embeddings of texts.
real/encoders/sentences.json, if FOLDER is the one that `make encoder` fetches: of texts and all-MiniLM-L6-v2.
"""

import json
import os
import shutil
import sys

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "sentences")
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


def write(value, *path):
    os.makedirs(os.path.join(OUT, *path[:-1]), exist_ok=True)
    with open(os.path.join(OUT, *path), "w") as f:
        json.dump(value, f)
        f.write("\n")


def pooled(rows, modes, passed):
    pooling = Pooling(rows.shape[1], pooling_mode=modes, include_prompt=passed == 0)
    features = {"token_embeddings": rows[None], "attention_mask": torch.ones(1, rows.shape[0], dtype=torch.int64)}
    if passed:
        features["prompt_length"] = passed
    return pooling(features)["sentence_embedding"][0].tolist()


def pooling():
    torch.manual_seed(1)
    rows = torch.randn(7, 3)
    cases = [dict(modes=[m], rows=n, passed=p) for m in MODES for n, p in ((1, 0), (7, 0), (7, 2))]
    cases += [dict(modes=m, rows=7, passed=0) for m in (["lasttoken", "cls"], ["mean", "max"], MODES)]
    for c in cases:
        c["want"] = pooled(rows[: c["rows"]], c["modes"], c["passed"])
    write(dict(rows=rows.tolist(), cases=cases), "pooling.json")


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "search", "document", ":", "a", "man", "is", "playing", "the", "flute", "dog", "runs", "##s", "##ing", "."]


def tiny():
    torch.manual_seed(2)
    path = os.path.join(OUT, "tiny")
    shutil.rmtree(path, ignore_errors=True)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=12, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=24,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )
    model = BertModel(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(1.0 if "LayerNorm.weight" in name else 0.0, 0.3)
    words = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer(lowercase=False)
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")
    base = path + "-base"
    model.save_pretrained(base)
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=20, **roles).save_pretrained(base)
    dense = Dense(24, 5)
    with torch.no_grad():
        for p in dense.parameters():
            p.normal_(0.0, 0.5)
    sentences = SentenceTransformer(
        modules=[Transformer(base), Pooling(12, pooling_mode=["weightedmean", "max"], include_prompt=False), dense, Normalize()],
        prompts={"query": "search : ", "document": "document : "}, default_prompt_name="document", similarity_fn_name="dot", device="cpu",
    )
    shutil.rmtree(base)
    sentences.save(path, create_model_card=False)
    sentences = SentenceTransformer(path, device="cpu")
    texts = ["a man is playing the flute.", "the dog runs", "playing", "the dog is a man . " * 6]
    cases = [dict(text=t, prompt=p, want=sentences.encode(t, prompt_name=p).tolist()) for t in texts for p in ("query", "document")]
    cases += [dict(text=t, want=sentences.encode(t).tolist()) for t in texts[:1]]
    for c in cases:
        c["truncated"] = len(c["text"]) > 60
    write(dict(cases=cases, similarity=sentences.similarity(*(sentences.encode(texts[:1]), sentences.encode(texts[:3]))).tolist()), "tiny", "golden.json")


def ranker():
    """A cross-encoder, with the vocabulary of the other."""
    torch.manual_seed(3)
    path = os.path.join(OUT, "ranker")
    shutil.rmtree(path, ignore_errors=True)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=12, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=20,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=1,
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(1.0 if "LayerNorm.weight" in name else 0.0, 0.4)
    model.save_pretrained(path)
    PreTrainedTokenizerFast.from_pretrained(os.path.join(OUT, "tiny")).save_pretrained(path)
    texts = ["a man is playing the flute.", "the dog runs", "playing", "the dog is a man . " * 4]
    pairs = [(a, b) for a in texts for b in texts]
    cross = CrossEncoder(path, device="cpu")
    cases = [dict(pair=p, score=float(s), raw=float(r)) for p, s, r in zip(pairs, cross.predict(pairs), cross.predict(pairs, activation_fn=torch.nn.Identity()))]
    write(cases, "ranker", "golden.json")


def minilm(folder):
    model = SentenceTransformer(folder, device="cpu")
    with open(os.path.join(HERE, "real", "encoders", "minilm.json")) as f:
        texts = [t["text"][0] for t in json.load(f)["texts"]]
    texts += ["The dog runs.", "Ein Mann spielt Flöte.", "SELECT name FROM users WHERE id = 3;"]
    found = []
    for text in texts:
        row = model.encode(text)
        found.append(dict(text=text, tokens=len(model.tokenizer(text)["input_ids"]), embedding=row.tolist()[:48], sum=float(row.sum(dtype="float64"))))
    similar = model.similarity(model.encode(texts[:1]), model.encode(texts)).tolist()[0]
    with open(os.path.join(HERE, "real", "encoders", "sentences.json"), "w") as f:
        json.dump(dict(folder="all-MiniLM-L6-v2", texts=found, similar=similar), f)
        f.write("\n")


torch.set_num_threads(1)
pooling()
tiny()
ranker()
if len(sys.argv) > 1:
    minilm(sys.argv[1])
