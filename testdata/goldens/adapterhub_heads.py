"""Folders with a head that AdapterHub's library saves, as input for a converter, and its scores.

encoders/<base>/adapterhub/<name>/ and <base>/adapterhub-heads/<name>/: the library's files, and golden.safetensors with
tokens.N [len] i32, types.N where the model has types, scores.N [1,classes] f32, or [len,classes] of tokens.
"""

import os
import shutil
import zlib

import adapters as hub
import torch
import transformers
from adapters import ClassificationHead, LoRAConfig, SeqBnConfig
from safetensors.torch import save_file

from oracle import seed

LENGTHS = (5, 23)
TAGS = {0: "O", 1: "B-PER", 2: "I-PER"}


def bottleneck():
    return SeqBnConfig(reduction_factor=4, leave_out=[0])


def lora():
    return LoRAConfig(r=2, alpha=4, attn_matrices=["q"], leave_out=[0])


def classes(n=2, **options):
    return lambda model: model.add_classification_head("golden", num_labels=n, **options)


def unbiased(n=2, **options):
    return lambda model: model.add_prediction_head(ClassificationHead(model, "golden", num_labels=n, layers=1, bias=False, **options))


def labels(n, **options):
    return lambda model: model.add_classification_head("golden", num_labels=n, multilabel=True, **options)


def tags(**options):
    return lambda model: model.add_tagging_head("golden", num_labels=3, id2label=TAGS, **options)


# (base, name, AdapterHub's class or transformers' with a head of its own, adapter, head, safetensors)
CASES = [
    # The library's default, a linear and tanh before the scores, is BERT's pooler and RoBERTa's head.
    ("encoders/bert", "default", "BertAdapterModel", bottleneck, classes(3, id2label={0: "no", 1: "yes", 2: "perhaps"}), False),
    ("encoders/bert", "pooled", "BertAdapterModel", lora, classes(layers=1, activation_function=None, use_pooler=True), True),
    ("encoders/bert", "deep", "BertAdapterModel", bottleneck, labels(4, layers=3, activation_function="relu", use_pooler=True), True),
    ("encoders/bert", "tags", "BertAdapterModel", lora, tags(), True),
    ("encoders/bert", "deep-tags", "BertAdapterModel", lora, tags(layers=2, activation_function="gelu"), True),
    ("encoders/bert-classifier", "static", "BertForSequenceClassification", lambda: LoRAConfig(r=2, alpha=4, attn_matrices=["q"]), None, False),
    ("encoders/roberta", "default", "RobertaAdapterModel", bottleneck, classes(1), True),
    ("encoders/roberta", "flat", "RobertaAdapterModel", lora, unbiased(), True),
    ("encoders/distilbert", "default", "DistilBertAdapterModel", bottleneck, classes(), True),
    ("encoders/distilbert", "own", "DistilBertAdapterModel", lora, classes(activation_function="relu"), True),
    ("encoders/electra", "linear", "ElectraAdapterModel", bottleneck, classes(activation_function=None), True),
    ("llama-gqa", "default", "LlamaAdapterModel", lora, classes(3), True),
    ("llama-gqa", "own", "LlamaAdapterModel", lora, unbiased(activation_function=None), True),
]


def make(base, name, cls, config, head, safe):
    path = f"{base}/adapterhub/{name}" if base.startswith("encoders/") else f"{base}/adapterhub-heads/{name}"
    seed(path)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    model = getattr(hub if head else transformers, cls).from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    if head:
        head(model)
    else:
        hub.init(model)
    model.add_adapter("golden", config=config())
    model.set_active_adapters("golden")
    with torch.no_grad():
        for key, p in model.named_parameters():
            if ".golden." in key or key.startswith("classifier."):
                p.normal_(0.0, 0.4)
    model.eval()
    model.save_adapter(path, "golden", with_head=True, use_safetensors=safe)
    tensors = {}
    rng = torch.Generator().manual_seed(zlib.crc32(path.encode()))
    for i, length in enumerate(LENGTHS):
        tokens = torch.randint(10, model.config.vocab_size, (length,), generator=rng)
        options = {}
        if getattr(model.config, "type_vocab_size", 0) > 1:
            types = torch.randint(0, model.config.type_vocab_size, (length,), generator=rng)
            tensors[f"types.{i}"] = types.to(torch.int32)
            options["token_type_ids"] = types[None]
        with torch.no_grad():
            scores = model(input_ids=tokens[None], **options).logits
        tensors[f"tokens.{i}"] = tokens.to(torch.int32)
        tensors[f"scores.{i}"] = scores.reshape(-1, scores.shape[-1]).contiguous()
    save_file(tensors, os.path.join(path, "golden.safetensors"))
    print(f"{path}: std {float(tensors['scores.1'].std()):.2f}", flush=True)


def make_all(cases=()):
    for base, name, *rest in CASES:
        if not cases or f"{base}/{name}" in cases:
            make(base, name, *rest)
