"""BitFit folders of our own kind: every tensor is a bias that replaces the base's."""

import os

import torch
from safetensors.torch import save_file

from lora import CONFIG_FILE, SAFE_FILE, TASK, folder
from oracle import golden, load_base, seed, write_json

# (base, name, target_modules); null means every bias of the model.
CASES = [
    ("qwen2", "bitfit", None),
    ("qwen2", "bitfit-targets", ["q_proj"]),
    ("gpt2", "bitfit", None),
    ("gpt2", "bitfit-targets", ["c_attn", "ln_1", "ln_f"]),
]


def targeted(module, targets):
    return targets is None or any(module == t or module.endswith("." + t) for t in targets)


def make(base, name, targets):
    path = folder(base, name)
    seed(path)
    model = load_base(base)
    tensors = {}
    with torch.no_grad():
        for key, p in model.named_parameters():
            if key.endswith(".bias") and targeted(key.removesuffix(".bias"), targets):
                p.add_(torch.empty_like(p).normal_(0.0, 0.3))
                tensors["base_model.model." + key] = p.detach().clone()
    config = {
        "base_model_name_or_path": base,
        "inference_mode": True,
        "peft_type": "BITFIT",
        "target_modules": targets,
        "task_type": TASK,
    }
    write_json(config, path, CONFIG_FILE)
    save_file(tensors, os.path.join(path, SAFE_FILE), metadata={"format": "pt"})
    golden(model, os.path.join(path, "golden.safetensors"))


def make_all(wanted=()):
    for base, name, targets in CASES:
        if not wanted or f"{base}/{name}" in wanted:
            make(base, name, targets)
