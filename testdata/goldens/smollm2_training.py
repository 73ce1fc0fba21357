"""Training goldens for SmolLM2-135M-Instruct: twenty steps of each method on real text.

python smollm2_training.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf [method ...]

The base is dequantised to f32 as in smollm2.py, adapters begin with the
numbers of its `generated`, and of where training ends only fingerprints are
kept: see ../README.md. Writes smollm2/training/{run,<method>}.json.
"""

import os
import sys

import adapters
import numpy as np
import torch
from adapters import DoubleSeqBnConfig
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import get_linear_schedule_with_warmup

import bottleneck
import smollm2
import training
from oracle import ROOT, write_json

# Prompt and completion, as the base's tokenizer splits them.
# fmt: off
TEXTS = [
    # "The tide went out before dawn," " and the boats lay on the mud."
    ([504, 17662, 3514, 578, 1092, 16804, 28], [284, 260, 13768, 2060, 335, 260, 13458, 30]),
    # "Bread rises because yeast" " turns sugar into gas."
    ([50, 1040, 13685, 975, 12827], [6497, 3982, 618, 2811, 30]),
    # "She opened the letter, read it" " twice and put it into the fire."
    ([8113, 6572, 260, 4386, 28, 1012, 357], [6757, 284, 1830, 357, 618, 260, 2892, 30]),
    # "The capital of Norway" " is Oslo, at the end of a fjord."
    ([504, 3575, 282, 14197], [314, 41730, 28, 418, 260, 1112, 282, 253, 275, 47597, 30]),
    # "for i in range(10):\n" "    print(i * i)\n"
    ([1710, 2056, 281, 1845, 24, 33, 32, 727, 198], [333, 1628, 24, 89, 1672, 2056, 25, 198]),
    # "In 1969 two men walked" " on the Moon for the first time."
    ([788, 216, 33, 41, 38, 41, 827, 1800, 13197], [335, 260, 8872, 327, 260, 808, 655, 30]),
    # "Water boils at 100 degrees;" " on a mountain it boils sooner."
    ([12615, 36411, 418, 216, 33, 32, 32, 5027, 43], [335, 253, 6740, 357, 36411, 17572, 30]),
    # "A triangle has three sides," " and its angles sum to 180 degrees."
    ([49, 14973, 553, 1296, 5882, 28], [284, 624, 11495, 2028, 288, 216, 33, 40, 32, 5027, 30]),
]
# fmt: on
ROWS = 2
STEM = "model.layers"
LISA_BLOCKS = [[3, 17], [17, 29], [0, 11], [11, 22]]
TASK = "CAUSAL_LM"
QV = ["q_proj", "v_proj"]
A, B = 1 / 16, 1 / 64


def low_rank(**options):
    return LoraConfig(task_type=TASK, **options)


# name -> (peak rate, configuration, bounds of the initial values by the end of a tensor's name)
ADAPTERS = {
    "lora": (1e-3, low_rank(r=8, lora_alpha=16, target_modules=QV), {"lora_A.weight": A, "lora_B.weight": B}),
    "rslora": (
        1e-3,
        low_rank(r=16, lora_alpha=4, use_rslora=True, target_modules=["k_proj", "o_proj", "up_proj"]),
        {"lora_A.weight": A, "lora_B.weight": B},
    ),
    "loraplus": (2e-4, low_rank(r=8, lora_alpha=16, target_modules=QV), {"lora_A.weight": A, "lora_B.weight": B}),
    "dora": (
        1e-3,
        low_rank(r=4, lora_alpha=8, use_dora=True, target_modules=["q_proj", "v_proj", "down_proj"]),
        {"lora_A.weight": A, "lora_B.weight": B, "lora_magnitude_vector": 1 / 16},
    ),
    "ia3": (
        5e-3,
        IA3Config(task_type=TASK, target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
        {"ia3_l": 1 / 16},
    ),
    "prefix": (2e-3, PrefixTuningConfig(task_type=TASK, num_virtual_tokens=4), {"prompt_embeddings": 1 / 64}),
    # Embeddings of the chat template's first words: from noise, the steps amplify each other's rounding.
    "prompt": (1e-3, PromptTuningConfig(task_type=TASK, num_virtual_tokens=8), {}),
    # In AdapterHub's own model.
    "houlsby": (
        2e-4,
        DoubleSeqBnConfig(reduction_factor=16),
        {"adapter_down.weight": A, "adapter_down.bias": B, "adapter_up.weight": B, "adapter_up.bias": B},
    ),
}
PROMPT = [1, 9690, 198, 2683, 359, 253, 5356, 5646]
RATES = {name: rate for name, (rate, _, _) in ADAPTERS.items()} | {"full": 2e-5, "lisa": 2e-5}


def batches():
    rows = [{"tokens": p + c, "labels": [-100] * len(p) + c} for p, c in TEXTS]
    return [rows[i : i + ROWS] for i in range(0, len(rows), ROWS)]


def start(path, method):
    """The model, its trainable parameters by saved name, and what a golden says of its start."""
    model = smollm2.load(path)
    if method in ("full", "lisa"):
        return model, dict(model.named_parameters()), {}
    _, config, bounds = ADAPTERS[method]
    if method == "houlsby":
        adapters.init(model)
        model.add_adapter("golden", config=config)
        model.train_adapter("golden")
        params = {training.ours(n): p for n, p in model.named_parameters() if p.requires_grad}
        written = {"peft_type": "BOTTLENECK", "task_type": TASK, **{key: config[key] for key in bottleneck.KEYS}}
    else:
        written = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items() if v and "version" not in k}
        model = get_peft_model(model, config)
        params = {training.saved_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, p in params.items():
            p.copy_(torch.from_numpy(initial(model, name, p, bounds).astype(np.float32)).view(p.shape))
    return model, params, {"config": written, "bounds": bounds} | ({"prompt": PROMPT} if method == "prompt" else {})


def initial(model, name, p, bounds):
    """v as smollm2.generated has it: 1 + v for IA3, ‖W_j‖·(1 + v_j) for a magnitude, rows of the embedding for a prompt, else v."""
    if not bounds:
        return model.get_input_embeddings().weight[PROMPT].double().numpy()
    v = smollm2.generated(name, p.numel(), next(b for end, b in bounds.items() if name.endswith(end)))
    if name.endswith("ia3_l"):
        return 1.0 + v
    if name.endswith("lora_magnitude_vector"):
        base = model.get_submodule(name.removesuffix(".lora_magnitude_vector")).base_layer.weight
        return base.double().norm(dim=1).numpy() * (1.0 + v)
    return v


PROBES, SAMPLES = 2, 4


def fingerprint(name, before, after):
    """How far a tensor has come: its length, its products with numbers made of its name, and some last values."""
    after = after.detach().double().numpy().ravel()
    moved = after - before.double().numpy().ravel()
    products = [moved @ smollm2.generated(f"{name}#{k}", moved.size, 1.0) for k in range(PROBES)]
    samples = [after[k * (after.size - 1) // (SAMPLES - 1)] for k in range(SAMPLES)]
    return [float(f"{v:.8g}") for v in [np.sqrt(moved @ moved), *products, *samples]]


def clip(params):
    """clip_grad_norm_ with a norm in float64: in f32 that of a whole model is off by 4e-5."""
    grads = [p.grad for p in params if p.grad is not None]
    norm = torch.stack([g.double().norm() for g in grads]).norm()
    for g in grads:
        g.mul_(min(1.0, training.CLIP / (float(norm) + 1e-6)))
    return float(norm)


def run(path, method):
    torch.manual_seed(0)  # for what is drawn and overwritten
    model, params, described = start(path, method)
    model.train()
    before = {n: p.detach().clone() for n, p in params.items()}
    optimizer = training.make_optimizer(model, method, RATES[method])
    schedule = get_linear_schedule_with_warmup(optimizer, training.WARMUP, training.STEPS)
    losses, norms, rates = [], [], []
    for step in range(training.STEPS):
        if method == "lisa" and step % training.LISA_INTERVAL == 0:
            training.activate(STEM, params, optimizer, LISA_BLOCKS[step // training.LISA_INTERVAL])
        # In f32 the sums over the vocabulary alone would move a loss by 3e-6 and a gradient by 2e-5.
        total, count = training.summed_loss(model, batches()[step % len(batches())], torch.float64)
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        norms.append(clip(params.values()))
        losses.append(float(loss.detach()))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    if method == "lisa":
        described = {"interval": training.LISA_INTERVAL, "blocks": LISA_BLOCKS}
    # The blocks that LISA never drew have not moved.
    moved = {n: p for n, p in params.items() if not torch.equal(before[n], p)}
    write_json(
        {
            **described,
            "lr": RATES[method],
            "losses": losses,
            "grad_norms": norms,
            "learning_rates": rates,
            "moved": {n: fingerprint(n, before[n], p) for n, p in sorted(moved.items())},
        },
        ROOT,
        "smollm2",
        "training",
        method + ".json",
        indent=None,
    )
    print(f"{method}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, gradient {norms[0]:.2f}, {len(moved)} tensors", flush=True)


def main():
    torch.set_num_threads(1)
    os.makedirs(os.path.join(ROOT, "smollm2", "training"), exist_ok=True)
    write_json(
        {
            "batches": batches(),
            "betas": training.BETAS,
            "eps": training.EPS,
            "weight_decay": training.DECAY,
            "loraplus_ratio": training.LORAPLUS_RATIO,
            "warmup": training.WARMUP,
            "steps": training.STEPS,
            "clip": training.CLIP,
        },
        ROOT,
        "smollm2",
        "training",
        "run.json",
        indent=None,
    )
    for method in sys.argv[2:] or RATES:
        run(sys.argv[1], method)


main()
