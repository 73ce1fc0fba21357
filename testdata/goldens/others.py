"""PEFT's other families, LoRA starts that change the base, and folders to be refused."""

import os
import shutil
import tempfile

import torch
from peft import (
    AdaLoraConfig,
    BeftConfig,
    BOFTConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    MissConfig,
    OFTConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    TrainableTokensConfig,
    VeraConfig,
    get_peft_model,
)

from lora import TASK, check_and_write, folder, lora, randomise, save
from oracle import load_base, seed



def adalora(targets, **options):
    return AdaLoraConfig(task_type=TASK, init_r=4, target_r=2, total_step=10, lora_alpha=6, target_modules=targets, **options)


# Which of its four ranks each module has kept at the end, in turn.
KEPT = [[True, False, True, True], [False, False, False, False], [True, True, True, True], [False, True, False, False]]


def spend_budget(model):
    """Leave each module of an AdaLoRA the ranks that its allocator would have."""
    config = model.peft_config["default"]
    config.rank_pattern = {}
    for name, p in model.named_parameters():
        if ".lora_E." not in name:
            continue
        kept = KEPT[len(config.rank_pattern) % len(KEPT)]
        with torch.no_grad():
            p.mul_(torch.tensor(kept).unsqueeze(-1))
        config.rank_pattern[name.removeprefix("base_model.model.")] = kept


CASES = [
    ("llama-gqa", "ia3", lambda: IA3Config(task_type=TASK, target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    ("qwen2", "ia3", lambda: IA3Config(task_type=TASK, target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    (
        "gpt2",
        "ia3",
        lambda: IA3Config(task_type=TASK, target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True),
    ),
    ("llama-gqa", "vera", lambda: VeraConfig(task_type=TASK, r=6, target_modules=["q_proj", "v_proj", "down_proj"])),
    ("llama-gqa", "vera-seed", lambda: VeraConfig(task_type=TASK, r=6, target_modules=["k_proj", "up_proj"], projection_prng_key=11, save_projection=False)),
    ("gpt2", "vera", lambda: VeraConfig(task_type=TASK, r=6, target_modules=["c_attn", "mlp.c_proj"], fan_in_fan_out=True)),
    ("llama-gqa", "miss", lambda: MissConfig(task_type=TASK, r=6, target_modules=["q_proj", "v_proj", "down_proj"])),
    ("llama-gqa", "miss-mini", lambda: MissConfig(task_type=TASK, r=4, mini_r=8, init_weights="mini", target_modules=["k_proj", "up_proj"])),
    ("llama-gqa", "ln-tuning", lambda: LNTuningConfig(task_type=TASK)),
    ("gpt2", "ln-tuning", lambda: LNTuningConfig(task_type=TASK, target_modules=["ln_1", "ln_f", "mlp.c_proj"])),
    ("llama-gqa", "adalora", lambda: adalora(["q_proj", "v_proj"])),
    ("gpt2", "adalora", lambda: adalora(["c_attn"], bias="all", fan_in_fan_out=True)),
    ("llama-gqa", "beft", lambda: BeftConfig(task_type=TASK, target_modules=["v_proj", "down_proj"])),
    ("qwen3moe", "ia3", lambda: IA3Config(task_type=TASK, target_modules=["k_proj", "gate", "down_proj"], feedforward_modules=["down_proj"])),
    ("qwen2", "beft", lambda: BeftConfig(task_type=TASK, target_modules=["q_proj", "v_proj"])),
    ("llama-gqa", "prefix", lambda: PrefixTuningConfig(task_type=TASK, num_virtual_tokens=5)),
    ("llama-gqa", "prefix-projection", lambda: PrefixTuningConfig(task_type=TASK, num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=8)),
    ("llama", "prefix", lambda: PrefixTuningConfig(task_type=TASK, num_virtual_tokens=5)),
    # Longer than a block of the cache.
    ("gpt2", "prefix", lambda: PrefixTuningConfig(task_type=TASK, num_virtual_tokens=35)),
    (
        "llama-gqa",
        "prefix-save",
        lambda: PrefixTuningConfig(task_type=TASK, num_virtual_tokens=5, modules_to_save=["embed_tokens", "norm"]),
    ),
    ("llama-gqa", "prompt-save", lambda: PromptTuningConfig(task_type=TASK, num_virtual_tokens=6, modules_to_save=["lm_head"])),
    ("llama-gqa", "prompt", lambda: PromptTuningConfig(task_type=TASK, num_virtual_tokens=6)),
    ("gemma3", "prompt", lambda: PromptTuningConfig(task_type=TASK, num_virtual_tokens=6)),
    ("gpt2", "prompt", lambda: PromptTuningConfig(task_type=TASK, num_virtual_tokens=6)),
    ("llama-gqa", "p-tuning", lambda: PromptEncoderConfig(task_type=TASK, num_virtual_tokens=4, encoder_hidden_size=16)),
    ("llama", "tokens", lambda: TrainableTokensConfig(task_type=TASK, token_indices=[90, 3, 17])),
    ("llama", "tokens-head", lambda: TrainableTokensConfig(task_type=TASK, token_indices=[5, 6], target_modules=["embed_tokens", "lm_head"])),
    # Tied: the head has the tokens too.
    ("llama-gqa", "tokens", lambda: TrainableTokensConfig(task_type=TASK, token_indices=[90, 3, 17])),
    ("gpt2", "tokens", lambda: TrainableTokensConfig(task_type=TASK, token_indices=[4, 2], target_modules=["wte"])),
    ("gpt2", "p-tuning", lambda: PromptEncoderConfig(task_type=TASK, num_virtual_tokens=4, encoder_hidden_size=16)),
]

# Unconverted these are wrong on the raw base; converted by PEFT they serve.
MUTATING = ["pissa", "olora"]

# Config only: the type, or the option, is refused before tensors are read.
REFUSED = {
    "loha": lambda: LoHaConfig(task_type=TASK, r=4, target_modules=["q_proj"]),
    "lokr": lambda: LoKrConfig(task_type=TASK, r=4, target_modules=["q_proj"]),
    "oft": lambda: OFTConfig(task_type=TASK, target_modules=["q_proj"]),
    "boft": lambda: BOFTConfig(task_type=TASK, target_modules=["q_proj"]),
    "layer-replication": lambda: LoraConfig(task_type=TASK, r=4, target_modules=["q_proj"], layer_replication=[[0, 2], [1, 3]]),
    "target-parameters": lambda: LoraConfig(task_type=TASK, r=4, target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"]),
    "qalora": lambda: LoraConfig(task_type=TASK, r=4, target_modules=["q_proj"], use_qalora=True),
}
REFUSED_BASE = "llama-gqa"


def make(base, name, config):
    path = folder(base, name)
    seed(path)
    model = get_peft_model(load_base(base), config())
    randomise(model)
    if name == "adalora":
        spend_budget(model)
    if name.startswith("p"):
        model.eval()
    save(model, path)
    # What a prompt encoder computes while training, against the saved result.
    check_and_write(base, path, model)


def make_mutating(base, kind):
    unconverted = folder(base, f"{kind}-unconverted")
    converted = folder(base, f"{kind}-converted")
    seed(converted)
    model = get_peft_model(load_base(base), lora(r=2, alpha=4, init_lora_weights=kind, target_modules=["q_proj", "v_proj"]))
    work = tempfile.mkdtemp()
    initial = os.path.join(work, "initial")
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(initial)
    model.peft_config["default"].init_lora_weights = kind
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.empty_like(p).normal_(0.0, 0.1))
    model.eval()
    save(model, unconverted)
    save(model, converted, path_initial_model_for_weight_conversion=initial)
    shutil.rmtree(work)
    model.delete_adapter("initial") if "initial" in model.peft_config else None
    model.set_adapter("default")
    check_and_write(base, converted, model)


def make_refused(name, config):
    path = folder(REFUSED_BASE, f"refused-{name}")
    config = config()
    config.base_model_name_or_path = REFUSED_BASE
    config.save_pretrained(path)


def make_all(wanted=()):
    for base, name, config in CASES:
        if not wanted or f"{base}/{name}" in wanted:
            make(base, name, config)
    if not wanted:
        for kind in MUTATING:
            make_mutating("llama-gqa", kind)
        for name, config in REFUSED.items():
            make_refused(name, config)
