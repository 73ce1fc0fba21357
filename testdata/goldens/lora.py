"""LoRA and DoRA adapters made by PEFT, random where PEFT would start at a no-op."""

import os
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from oracle import golden, load_base, logits, read_json, seed, write_json

TASK = "CAUSAL_LM"
CONFIG_FILE = "adapter_config.json"
SAFE_FILE = "adapter_model.safetensors"
BIN_FILE = "adapter_model.bin"


def lora(r=4, alpha=8, **options):
    return LoraConfig(task_type=TASK, r=r, lora_alpha=alpha, **options)


QV = ["q_proj", "v_proj"]

# (base, name, config)
CASES = [
    ("llama-gqa", "lora", lambda: lora(target_modules=QV)),
    ("llama-gqa", "lora-other", lambda: lora(r=2, alpha=8, target_modules=["k_proj", "o_proj", "up_proj"])),
    ("llama-gqa", "rslora", lambda: lora(alpha=4, use_rslora=True, target_modules=QV)),
    (
        # Keys in sorted order, as PEFT saves them: the first that matches counts.
        "llama-gqa",
        "lora-patterns",
        lambda: lora(
            target_modules=["q_proj", "v_proj", "down_proj"],
            rank_pattern={"layers.1.self_attn.q_proj": 6, "q_proj": 2},
            alpha_pattern={"down_proj": 3, r"layers\.[02]\..*v_proj": 16},
        ),
    ),
    (
        "llama-gqa",
        "rslora-patterns",
        lambda: lora(
            use_rslora=True, target_modules=QV, rank_pattern={"^model.layers.0.self_attn.q_proj": 9}, alpha_pattern={"v_proj": 2}
        ),
    ),
    ("llama-gqa", "lora-all-linear", lambda: lora(r=2, target_modules="all-linear")),
    ("llama-gqa", "lora-regex", lambda: lora(target_modules=r".*layers\.[02]\..*(q_proj|down_proj)")),
    (
        "llama-gqa",
        "lora-exclude",
        lambda: lora(target_modules=["q_proj", "k_proj", "gate_proj"], exclude_modules=["layers.1.self_attn.q_proj", "k_proj"]),
    ),
    ("llama-gqa", "lora-exclude-regex", lambda: lora(target_modules=QV, exclude_modules=r".*layers\.2\..*")),
    ("llama-gqa", "lora-layers", lambda: lora(target_modules=QV, layers_to_transform=[0, 2], layers_pattern="layers")),
    ("llama-gqa", "lora-layer-int", lambda: lora(target_modules=["up_proj"], layers_to_transform=1)),
    ("llama-gqa", "dora", lambda: lora(use_dora=True, target_modules=QV)),
    ("llama-gqa", "dora-all-linear", lambda: lora(r=3, use_dora=True, target_modules="all-linear")),
    ("llama-gqa", "dora-rslora", lambda: lora(use_dora=True, use_rslora=True, alpha=4, target_modules=["k_proj", "down_proj"])),
    ("llama-gqa", "dora-wide", lambda: lora(r=40, alpha=40, use_dora=True, target_modules=["q_proj"], layers_to_transform=[1])),
    ("llama-gqa", "lora-embed", lambda: lora(target_modules=["embed_tokens", "q_proj"])),
    ("llama-gqa", "lora-embed-only-deltas", lambda: lora(target_modules=["embed_tokens"])),
    ("llama-gqa", "lora-lm-head-tied", lambda: lora(target_modules=["lm_head", "q_proj"])),
    ("llama-gqa", "lora-tokens", lambda: lora(target_modules=["q_proj"], trainable_token_indices=[3, 17, 90])),
    ("llama-gqa", "lora-save-embed-tied", lambda: lora(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
    (
        "llama-gqa",
        "lora-save-embed-ensure-tied",
        lambda: lora(target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    ),
    ("llama-gqa", "lora-save-norm", lambda: lora(target_modules=["q_proj"], modules_to_save=["input_layernorm", "model.norm"])),
    # PEFT matches modules_to_save without a dot boundary: this captures every norm.
    ("llama-gqa", "lora-save-norm-suffix", lambda: lora(target_modules=["q_proj"], modules_to_save=["norm"])),
    ("llama-gqa", "lora-save-head-tied", lambda: lora(target_modules=["q_proj"], modules_to_save=["lm_head"])),
    ("llama-gqa", "dora-embed", lambda: lora(use_dora=True, target_modules=["embed_tokens"])),
    ("llama-gqa", "alora", lambda: lora(target_modules=QV, alora_invocation_tokens=[7, 8])),
    ("gpt2", "alora", lambda: lora(target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, alora_invocation_tokens=[7])),
    ("llama-gqa", "lora-f16", lambda: lora(target_modules=QV)),
    ("llama-gqa", "lora-bf16", lambda: lora(target_modules=QV)),
    ("llama-gqa", "lora-bin", lambda: lora(target_modules=QV)),
    ("llama", "lora", lambda: lora(target_modules=QV)),
    ("llama", "dora", lambda: lora(use_dora=True, target_modules=["o_proj", "gate_proj"])),
    ("llama", "lora-save-head", lambda: lora(target_modules=QV, modules_to_save=["lm_head"])),
    ("llama", "lora-lm-head", lambda: lora(target_modules=["lm_head", "v_proj"])),
    ("llama", "lora-embed", lambda: lora(target_modules=["embed_tokens", "v_proj"])),
    ("llama", "lora-save-embed", lambda: lora(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
    ("llama", "lora-tokens", lambda: lora(target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [5, 6]})),
    ("mistral", "lora-all-linear", lambda: lora(r=2, target_modules="all-linear")),
    ("qwen2", "lora", lambda: lora(target_modules=QV)),
    ("qwen2", "dora", lambda: lora(use_dora=True, target_modules=["q_proj", "v_proj", "down_proj"])),
    ("qwen2", "lora-bias", lambda: lora(lora_bias=True, target_modules=QV)),
    ("qwen2", "lora-bias-all", lambda: lora(bias="all", target_modules=["q_proj", "down_proj"])),
    ("qwen2", "lora-bias-lora-only", lambda: lora(bias="lora_only", target_modules=QV)),
    ("qwen3", "dora-all-linear", lambda: lora(r=2, use_dora=True, target_modules="all-linear")),
    ("qwen3moe", "lora", lambda: lora(target_modules=["q_proj", "gate", "down_proj"])),
    ("qwen3moe", "lora-experts", lambda: lora(target_modules=["layers.0.mlp.experts.3.down_proj", "experts.1.up_proj"])),
    ("qwen3moe", "lora-save-router", lambda: lora(target_modules=["q_proj"], modules_to_save=["mlp.gate"])),
    ("qwen3moe", "dora-all-linear", lambda: lora(r=2, use_dora=True, target_modules="all-linear")),
    ("gemma3", "lora", lambda: lora(target_modules=QV)),
    ("gemma3", "dora-all-linear", lambda: lora(r=2, use_dora=True, target_modules="all-linear")),
    # The factors on what the embedding looks up hold for whatever an adapter makes of it.
    ("gemma3", "lora-embed", lambda: lora(target_modules=["embed_tokens", "q_proj"])),
    ("gemma3", "lora-tokens", lambda: lora(target_modules=["q_proj"], trainable_token_indices=[3, 17, 90])),
    ("gemma3", "lora-save-norm", lambda: lora(target_modules=["q_proj"], modules_to_save=["norm"])),
    ("phi3", "lora", lambda: lora(target_modules=["qkv_proj", "gate_up_proj"])),
    ("phi3", "dora-all-linear", lambda: lora(r=2, use_dora=True, target_modules="all-linear")),
    ("gpt2", "lora", lambda: lora(target_modules=["c_attn"], fan_in_fan_out=True)),
    ("gpt2", "rslora", lambda: lora(target_modules=["c_attn", "mlp.c_fc"], use_rslora=True, fan_in_fan_out=True)),
    ("gpt2", "lora-all-linear", lambda: lora(r=2, target_modules="all-linear", fan_in_fan_out=True)),
    # Conv1D with the flag unset in the file: PEFT corrects it on load.
    ("gpt2", "lora-no-flag", lambda: lora(target_modules=["c_attn"])),
    ("gpt2", "dora", lambda: lora(use_dora=True, target_modules=["c_attn"], fan_in_fan_out=True)),
    ("gpt2", "dora-all-linear", lambda: lora(r=2, use_dora=True, target_modules="all-linear", fan_in_fan_out=True)),
    ("gpt2", "lora-bias", lambda: lora(lora_bias=True, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)),
    ("gpt2", "lora-bias-all", lambda: lora(bias="all", target_modules=["c_attn"], fan_in_fan_out=True)),
    ("gpt2", "lora-bias-lora-only", lambda: lora(bias="lora_only", target_modules=["c_attn"], fan_in_fan_out=True)),
    ("gpt2", "lora-embed", lambda: lora(target_modules=["wte", "wpe", "c_attn"], fan_in_fan_out=True)),
]

SAVE_OPTIONS = {
    "lora-bin": dict(safe_serialization=False),
    "lora-embed-only-deltas": dict(save_embedding_layers=False),
    "dora-embed": dict(save_embedding_layers=False),
}


def randomise(model):
    """Move every trainable parameter away from where it does nothing."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not p.requires_grad:
                continue
            if "lora_magnitude_vector" in name:
                p.mul_(torch.empty_like(p).uniform_(0.7, 1.3))
            elif "ia3_l" in name:
                p.uniform_(0.5, 1.5)
            elif "lora_" in name:
                r = min(p.shape) if p.ndim == 2 else 4
                p.normal_(0.0, 0.2 if r <= 16 else 0.08)
            else:
                p.add_(torch.empty_like(p).normal_(0.0, 0.2))


def folder(base, name):
    """The emptied folder of an adapter."""
    path = os.path.join(base, "adapters", name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def store_as(path, dtype):
    file = os.path.join(path, SAFE_FILE)
    save_file({k: v.to(dtype) for k, v in load_file(file).items()}, file, metadata={"format": "pt"})


def save(model, path, **options):
    """save_pretrained without the model card."""
    model.save_pretrained(path, **options)
    os.remove(os.path.join(path, "README.md"))


def make(base, name, config):
    path = folder(base, name)
    seed(path)
    model = get_peft_model(load_base(base), config())
    randomise(model)
    model.eval()
    save(model, path, **SAVE_OPTIONS.get(name, {}))
    if name == "lora-no-flag":
        write_json({**read_json(path, CONFIG_FILE), "fan_in_fan_out": False}, path, CONFIG_FILE)
    for suffix, dtype in (("-f16", torch.float16), ("-bf16", torch.bfloat16)):
        if name.endswith(suffix):
            store_as(path, dtype)
    check_and_write(base, path, model)


def check_and_write(base, path, model):
    """Write the golden: the oracle is what PEFT computes after reading the folder back."""
    loaded = PeftModel.from_pretrained(load_base(base), path).eval()
    probe = list(range(2, 14))  # with the invocation of every aLoRA here
    lost = (logits(loaded, probe) - logits(model, probe)).abs().max()
    effect = (logits(loaded, probe) - logits(load_base(base), probe)).abs().max()
    invocation = getattr(loaded.active_peft_config, "alora_invocation_tokens", None) or ()
    golden(loaded, os.path.join(path, "golden.safetensors"), within=invocation)
    print(f"  effect {effect:.3f}, changed by saving and loading {lost:.2g}")


def make_all(wanted=()):
    for base, name, config in CASES:
        if not wanted or f"{base}/{name}" in wanted:
            make(base, name, config)
