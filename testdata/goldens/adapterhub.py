"""LoRA folders that AdapterHub's library saves, as input for a converter, with its logits."""

import os

import adapters
import torch
from adapters import LoRAConfig

from oracle import golden, load_base, seed

CASES = [
    ("llama-gqa", "lora", lambda: LoRAConfig(r=4, alpha=8, attn_matrices=["q", "v"], intermediate_lora=True), False),
    ("llama-gqa", "lora-leave-out", lambda: LoRAConfig(r=3, alpha=6, attn_matrices=["k"], output_lora=True, leave_out=[1]), True),
    # Query and value of one fused projection, each with a low rank of its own.
    ("gpt2", "lora", lambda: LoRAConfig(r=4, alpha=8, attn_matrices=["q", "v"], intermediate_lora=True, output_lora=True), True),
]


def make(base, name, config, safe):
    path = f"{base}/adapterhub/{name}"
    seed(path)
    model = load_base(base)
    adapters.init(model)
    model.add_adapter("golden", config=config())
    model.set_active_adapters("golden")
    with torch.no_grad():
        for key, p in model.named_parameters():
            if ".loras.golden." in key:
                p.normal_(0.0, 0.2)
    model.eval()
    os.makedirs(path, exist_ok=True)
    model.save_adapter(path, "golden", with_head=False, use_safetensors=safe)
    golden(model, f"{path}/golden.safetensors", with_greedy=False)


def make_all(cases):
    for base, name, config, safe in CASES:
        if not cases or f"{base}/{name}" in cases:
            make(base, name, config, safe)
