"""Training goldens: twenty steps of each method from saved starts, on bases smaller still.

training/<base>/            config.json, model.safetensors, batches.json
training/<base>/<method>/   init/ (the adapter before step 1; absent for full and LISA, which start from the base),
                            run.json, grads.safetensors (step 1, before clipping; not for LISA),
                            final.safetensors (after step 20)
"""

import os
import shutil

import torch
from adapters import DoubleSeqBnConfig, ParBnConfig, SeqBnConfig
from peft import IA3Config, LNTuningConfig, MissConfig, PrefixTuningConfig, PromptTuningConfig, VeraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, LlamaConfig, Phi3Config, Qwen3MoeConfig, get_linear_schedule_with_warmup
from transformers.pytorch_utils import ALL_LAYERNORM_LAYERS
from transformers.trainer_pt_utils import get_parameter_names

import bases
import bottleneck
from lora import CONFIG_FILE, SAFE_FILE, TASK, lora, randomise, save
from oracle import EOS, load_base, read_json, seed, write_json

VOCAB = 64
BASES = {
    "llama-gqa": lambda: LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rms_norm_eps=1e-6,
        rope_theta=500.0,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=EOS,
    ),
    "gemma3": lambda: Gemma3TextConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        query_pre_attn_scalar=5,
        sliding_window=5,
        sliding_window_pattern=3,
        max_position_embeddings=64,
        rope_theta=500.0,
        rope_local_base_freq=50.0,
        bos_token_id=0,
        eos_token_id=EOS,
        pad_token_id=None,
    ),
    "phi3": lambda: Phi3Config(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=EOS,
        pad_token_id=None,
    ),
    "qwen3moe": lambda: Qwen3MoeConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        num_experts=3,  # so few that rows go to each in every step: see run
        num_experts_per_tok=2,
        norm_topk_prob=True,
        moe_intermediate_size=12,
        mlp_only_layers=[1],
        max_position_embeddings=64,
        rope_theta=500.0,
        bos_token_id=0,
        eos_token_id=EOS,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCAB,
        n_embd=16,
        n_inner=24,
        n_layer=3,
        n_head=4,
        n_positions=64,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=EOS,
    ),
}
STEPS, WARMUP, LR, DECAY, CLIP = 20, 2, 1e-2, 0.01, 1.0
BETAS, EPS = (0.9, 0.999), 1e-8
LORAPLUS_RATIO = 4.0
# LISA: one active block every five steps; block 2 stays active over two draws.
LISA_INTERVAL, LISA_BLOCKS = 5, [[0], [2], [2], [1]]
BATCHES, ROWS = 4, 2
STEMS = {"llama-gqa": "model.layers", "gemma3": "model.layers", "phi3": "model.layers", "qwen3moe": "model.layers", "gpt2": "transformer.h"}
EMBEDDINGS = {"llama-gqa": "embed_tokens", "gemma3": "embed_tokens", "phi3": "embed_tokens", "qwen3moe": "embed_tokens", "gpt2": "wte"}
LORA_TARGETS = {
    "llama-gqa": dict(target_modules=["q_proj", "v_proj"]),
    "gemma3": dict(target_modules=["q_proj", "v_proj"]),
    "phi3": dict(target_modules=["qkv_proj", "gate_up_proj"]),
    "qwen3moe": dict(target_modules=["q_proj", "gate", "down_proj"]),  # "gate" is the router
    "gpt2": dict(target_modules=["c_attn"], fan_in_fan_out=True),
}
IA3_TARGETS = {
    "llama-gqa": dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "gpt2": dict(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True),
}
INVOCATION = [7]
PEFT_METHODS = {
    "lora": lambda base: lora(**LORA_TARGETS[base]),
    "lora-accumulate": lambda base: lora(**LORA_TARGETS[base]),
    "lora-tokens": lambda base: lora(trainable_token_indices=[5, 40, 7], **LORA_TARGETS[base]),
    "lora-tokens-by-name": lambda base: lora(trainable_token_indices={EMBEDDINGS[base]: [5, 9], "lm_head": [40, 7]}, **LORA_TARGETS[base]),
    "rslora": lambda base: lora(alpha=4, use_rslora=True, **LORA_TARGETS[base]),
    "loraplus": lambda base: lora(**LORA_TARGETS[base]),
    "dora": lambda base: lora(use_dora=True, **LORA_TARGETS[base]),
    "dora-loraplus": lambda base: lora(r=2, use_dora=True, **LORA_TARGETS[base]),
    "ia3": lambda base: IA3Config(task_type=TASK, **IA3_TARGETS[base]),
    "alora": lambda base: lora(alora_invocation_tokens=INVOCATION, **LORA_TARGETS[base]),
    "miss": lambda base: MissConfig(task_type=TASK, r=6, target_modules=["q_proj", "v_proj"]),
    "ln-tuning": lambda base: LNTuningConfig(task_type=TASK),
    "vera": lambda base: VeraConfig(task_type=TASK, r=6, **LORA_TARGETS[base]),
    "prefix": lambda base: PrefixTuningConfig(task_type=TASK, num_virtual_tokens=4),
    "prompt": lambda base: PromptTuningConfig(task_type=TASK, num_virtual_tokens=4),
}
BOTTLENECKS = {"bottleneck": DoubleSeqBnConfig, "bottleneck-pfeiffer": SeqBnConfig, "bottleneck-parallel": ParBnConfig}
# The same start, trained in AdapterHub's model instead of through the hooks.
LIBRARY = "-adapterhub"
WITH_LIBRARY = [*BOTTLENECKS, *(name + LIBRARY for name in BOTTLENECKS)]
METHODS = {
    "llama-gqa": [*PEFT_METHODS, *WITH_LIBRARY, "full", "lisa"],
    "gemma3": ["lora", "lora-tokens", "dora", "prompt", "full", "lisa"],
    "phi3": ["lora", "full", "lisa"],
    "qwen3moe": ["lora", "dora", "full", "lisa"],
    "gpt2": [*(m for m in PEFT_METHODS if m != "miss"), *WITH_LIBRARY, "bitfit", "full", "lisa"],
}


def make_base(base, path):
    seed(path)
    model = AutoModelForCausalLM.from_config(BASES[base](), attn_implementation="eager")
    bases.randomise(model, std=0.3)
    model.tie_weights()
    model.save_pretrained(path)
    rng = torch.Generator().manual_seed(7)
    batches = []
    for _ in range(BATCHES):
        rows = []
        for _ in range(ROWS):
            length = int(torch.randint(8, 15, (1,), generator=rng))
            prompt = int(torch.randint(2, 6, (1,), generator=rng))
            tokens = torch.randint(2, VOCAB, (length,), generator=rng).tolist()
            rows.append({"tokens": tokens, "labels": [-100] * prompt + tokens[prompt:]})
        batches.append(rows)
    write_json(batches, path, "batches.json", indent=None)
    return batches


def saved_name(name):
    """The name under which PEFT saves a parameter."""
    if name.startswith("prompt_encoder."):
        return "prompt_embeddings"
    return name.replace(".default.weight", ".weight" if "magnitude" not in name else "").replace(".default", "")


def ours(name):
    """The name in a folder of ours for a bottleneck's parameter in AdapterHub's model."""
    stem = "self_attn" if name.startswith("model.") else "attn"
    for theirs, mine in {
        "attention_adapters.adapters.golden": stem,
        "output_adapters.adapters.golden": "mlp",
        "adapter_down.0": "adapter_down",
    }.items():
        name = name.replace(theirs, mine)
    return "base_model.model." + name


def start(base, path, method):
    """The model, its trainable parameters by saved name, and the init folder written."""
    init = os.path.join(path, method, "init")
    seed(os.path.join(path, method.removesuffix(LIBRARY)))
    model = load_base(path)
    for p in model.parameters():
        p.requires_grad_(False)
    if method in PEFT_METHODS:
        model = get_peft_model(model, PEFT_METHODS[method](base))
        randomise(model)
        params = {saved_name(n): p for n, p in model.named_parameters() if p.requires_grad}
        config = model.peft_config["default"]
        save(model, init)
        config.inference_mode = False
        return model, params
    if method in ("full", "lisa"):
        params = dict(model.named_parameters())
    else:
        if method == "bitfit":
            params = {"base_model.model." + n: p for n, p in model.named_parameters() if n.endswith(".bias")}
            config = {"peft_type": "BITFIT", "target_modules": None}
        else:
            settings = BOTTLENECKS[method.removesuffix(LIBRARY)](reduction_factor=4)
            config = {"peft_type": "BOTTLENECK", **{key: settings[key] for key in bottleneck.KEYS}}
            made = bottleneck.attach(model, config)
            params = {f"base_model.model.{site}.{n}": p for site, b in made.items() for n, p in b.named_parameters()}
            model.bottlenecks = torch.nn.ModuleList(made.values())
            if method.endswith(LIBRARY):
                model = bottleneck.in_adapterhub(path, settings, made)
                model.train_adapter("golden")
                params = {ours(n): p for n, p in model.named_parameters() if ".adapters.golden." in n}
        os.makedirs(init)
        write_json({"base_model_name_or_path": path, "task_type": TASK, **config}, init, CONFIG_FILE)
        save_file({n: p.detach().clone() for n, p in params.items()}, os.path.join(init, SAFE_FILE), metadata={"format": "pt"})
    for p in params.values():
        p.requires_grad_(True)
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert trained == {id(p) for p in params.values()}, method
    return model, params


def decayed_names(model):
    """The names that transformers' Trainer decays."""
    return set(
        get_parameter_names(
            model, ALL_LAYERNORM_LAYERS, [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
        )
    )


def make_optimizer(model, method, lr=LR):
    if "loraplus" in method:
        return create_loraplus_optimizer(
            model,
            torch.optim.AdamW,
            lr=lr,
            loraplus_lr_ratio=LORAPLUS_RATIO,
            loraplus_weight_decay=DECAY,
            betas=BETAS,
            eps=EPS,
        )
    decayed = decayed_names(model)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in named if n in decayed], "weight_decay": DECAY},
        {"params": [p for n, p in named if n not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, eps=EPS)


def summed_loss(model, rows, dtype=torch.float32):
    """The summed next-token loss of a batch and the number of its labels; each row goes alone, so nothing is padded."""
    total, count = 0.0, 0
    for row in rows:
        out = model(input_ids=torch.tensor([row["tokens"]]), use_cache=False).logits[0].to(dtype)
        out = out[-len(row["tokens"]) :]  # without the rows of virtual tokens
        labels = torch.tensor(row["labels"][1:])
        total = total + torch.nn.functional.cross_entropy(out[:-1], labels, ignore_index=-100, reduction="sum")
        count += int((labels != -100).sum())
    return total, count


def run(base, path, method, batches):
    folder = os.path.join(path, method)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model, params = start(base, path, method)
    model.train()
    optimizer = make_optimizer(model, method)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    names = {id(p): n for n, p in params.items()}
    micro = 2 if method == "lora-accumulate" else 1
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        if method == "lisa" and step % LISA_INTERVAL == 0:
            activate(STEMS[base], params, optimizer, LISA_BLOCKS[step // LISA_INTERVAL])
        # Accumulated micro-batches count as one batch: the sum over all labels is divided once.
        rows = [row for m in range(micro) for row in batches[(step * micro + m) % BATCHES]]
        if method == "alora":
            rows = [invoked(row) for row in rows]
        total, count = summed_loss(model, rows)
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        # transformers 4 leaves an expert without rows without a gradient, and the optimizer passes it over.
        assert all(p.grad is not None for p in params.values() if p.requires_grad), "a parameter has no gradient"
        if step == 0:
            grads = {n: p.grad.clone() for n, p in params.items() if p.grad is not None}
        norms.append(float(torch.nn.utils.clip_grad_norm_(params.values(), CLIP)))
        losses.append(float(loss.detach()))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    if method != "lisa":  # there they are the active ones of "full"
        save_file(grads, os.path.join(folder, "grads.safetensors"))
    save_file({n: p.detach().clone() for n, p in params.items()}, os.path.join(folder, "final.safetensors"))
    write_json(
        {
            "losses": losses,
            "grad_norms": norms,
            "learning_rates": rates,
            "micro_batches": micro,
            "lr": LR,
            "betas": BETAS,
            "eps": EPS,
            "weight_decay": DECAY,
            "warmup": WARMUP,
            "steps": STEPS,
            "clip": CLIP,
            "groups": [
                {
                    "lr_factor": round(g["initial_lr"] / LR, 6),
                    "weight_decay": g["weight_decay"],
                    "names": sorted(names[id(p)] for p in g["params"]),
                }
                for g in optimizer.param_groups
                if g["params"]
            ],
            **({"interval": LISA_INTERVAL, "blocks": LISA_BLOCKS} if method == "lisa" else {}),
        },
        folder,
        "run.json",
    )
    if method.endswith(LIBRARY):
        compare(folder.removesuffix(LIBRARY), losses, params)
    print(f"{folder}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, gradient {norms[0]:.2f}, {len(params)} tensors")


def compare(hooked, losses, params):
    """Hold a run of AdapterHub's library against that of the same start through the hooks."""
    want = read_json(hooked, "run.json")["losses"]
    last = load_file(os.path.join(hooked, "final.safetensors"))
    loss = max(abs(a - b) / b for a, b in zip(losses, want, strict=True))
    value = max(float((p.detach() - last[n]).abs().max() / last[n].abs().max()) for n, p in params.items())
    assert last.keys() == params.keys() and loss < 1e-5 and value < 1e-4, (loss, value)
    print(f"  AdapterHub's losses differ from the hooks' by {loss:.1e}, its last values by {value:.1e}")


def invoked(row):
    """A row whose second token, which no label asks for, is the invocation, and no other."""
    tokens = [t if t not in INVOCATION else 8 for t in row["tokens"]]
    labels = [t if t not in INVOCATION else 8 for t in row["labels"]]
    tokens[1] = INVOCATION[0]
    return {"tokens": tokens, "labels": labels}


def activate(stem, params, optimizer, blocks):
    """Freeze every block but these; a block that goes inactive forgets its moments and its step count."""
    for name, p in params.items():
        if not name.startswith(stem + "."):
            continue
        active = int(name.removeprefix(stem + ".").split(".")[0]) in blocks
        p.requires_grad_(active)
        if not active:
            p.grad = None
            optimizer.state.pop(p, None)


def make_all(wanted=()):
    for base, methods in METHODS.items():
        path = os.path.join("training", base)
        batches = make_base(base, path)
        for method in methods:
            if not wanted or f"training/{base}/{method}" in wanted:
                run(base, path, method, batches)
