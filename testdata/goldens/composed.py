"""Adapters composed linearly: composed.json says of which parts, by PEFT's own hand or by its deltas."""

import os

import torch
from peft import PeftModel

from oracle import golden, load_base, write_json

# (base, name, by, parts): "cat" is PEFT's add_weighted_adapter of LoRAs. It keeps the first part's
# use_rslora, by which it would scale the sum once more, so that a plain LoRA comes first. "deltas" adds to the
# base's tensors what merging each part changes, times its weight: for families that PEFT does not combine.
CASES = [
    ("llama-gqa", "two", "cat", [("lora", 0.7), ("rslora", 0.3)]),
    ("llama-gqa", "three", "cat", [("lora-patterns", 1.5), ("lora-other", -0.5), ("rslora-patterns", 0.25)]),
    ("llama-gqa", "embedding", "cat", [("lora-embed-only-deltas", 0.6), ("lora-other", 1.0), ("lora-f16", 0.5)]),
    ("llama-gqa", "head", "cat", [("lora-lm-head-tied", 0.5), ("lora-all-linear", 0.5)]),
    ("llama-gqa", "families", "deltas", [("vera", 0.5), ("miss", 0.25), ("adalora", -0.75), ("miss-mini", 0.3), ("lora", 1.25)]),
    ("qwen2", "biases", "deltas", [("lora-bias", 0.5), ("lora", -0.8)]),
    ("llama", "served", "cat", [("lora", 0.7), ("lora-embed", -0.5), ("lora-lm-head", 0.4)]),
    ("gpt2", "two", "cat", [("lora", 0.5), ("lora-all-linear", 0.5)]),
    ("gpt2", "embeddings", "cat", [("lora-embed", 0.5), ("rslora", 0.7)]),
    ("gpt2", "biases", "deltas", [("vera", 0.6), ("rslora", 0.7), ("lora-bias", 0.4)]),
]


def adapter(base, name):
    return os.path.join(base, "adapters", name)


def concatenated(base, parts):
    model = None
    for name, _ in parts:
        if model is None:
            model = PeftModel.from_pretrained(load_base(base), adapter(base, name), adapter_name=name)
        else:
            model.load_adapter(adapter(base, name), adapter_name=name)
    model.add_weighted_adapter([n for n, _ in parts], [w for _, w in parts], "sum", combination_type="cat")
    model.set_adapter("sum")
    return model.eval()


def summed(base, parts):
    model = load_base(base)
    before = {k: v.double().clone() for k, v in model.state_dict().items()}
    total = {k: v.clone() for k, v in before.items()}
    for name, weight in parts:
        merged = PeftModel.from_pretrained(load_base(base), adapter(base, name)).merge_and_unload().state_dict()
        for k, v in merged.items():
            if k in before:
                total[k] += weight * (v.double() - before[k])
    model.load_state_dict({k: v.float() for k, v in total.items()})
    return model.eval()


@torch.no_grad()
def make_all(wanted=()):
    for base, name, by, parts in CASES:
        if not wanted or f"{base}/{name}" in wanted:
            os.makedirs(os.path.join(base, "composed"), exist_ok=True)
            model = (concatenated if by == "cat" else summed)(base, parts)
            golden(model, os.path.join(base, "composed", name + ".safetensors"))
    if not wanted:
        cases = [{"base": b, "name": n, "parts": [{"adapter": a, "weight": w} for a, w in p]} for b, n, _, p in CASES]
        write_json(cases, "composed.json")
