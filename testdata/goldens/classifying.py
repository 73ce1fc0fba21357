"""Training goldens of heads: some steps of PyTorch from the adapters and bases with heads in heads/.

classifying/<base>.json: for each case the folder that it starts from, the problem, the batches (tokens, types, and what is wanted),
of each step the loss and the gradient's norm, and by tensor, without "base_model.model.", four numbers: the norm of the first
gradient and its product with the numbers of the tensor's name (README.md: SmolLM2), and both of the way to the last values.
"""

import os
import zlib

import torch
import transformers
from peft import PeftConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch.nn import functional

import heads
from fingerprints import fingerprint
from oracle import seed, write_json
from training import saved_name

STEPS, LR, CLIP, ROWS = 8, 1e-2, 1.0, 3
SINGLE, MULTI, REGRESSION, TAGS = "single_label_classification", "multi_label_classification", "regression", ""

# (base, name in heads/, task, classes, problem, options)
CASES = [
    ("encoders/bert", "text", heads.TEXT, 3, SINGLE, {}),
    ("encoders/bert", "text", heads.TEXT, 3, SINGLE, {"weights": [1.0, 0.25, 3.0], "smoothing": 0.1}),
    ("encoders/bert", "text", heads.TEXT, 3, MULTI, {}),
    ("encoders/bert", "tokens", heads.TOKEN, 5, TAGS, {}),
    ("encoders/bert", "tokens", heads.TOKEN, 5, TAGS, {"weights": [0.5, 1.0, 1.0, 2.0, 2.0]}),
    ("encoders/bert", "ia3", heads.TEXT, 1, REGRESSION, {}),
    ("encoders/bert", "prefix", heads.TEXT, 4, SINGLE, {}),
    ("encoders/bert", "prompt", heads.TEXT, 2, SINGLE, {}),
    ("encoders/bert", "pooler", heads.TEXT, 2, SINGLE, {}),
    ("encoders/bert", "bitfit", heads.TEXT, 4, SINGLE, {}),
    ("encoders/roberta", "all-linear", heads.TEXT, 2, SINGLE, {}),
    ("encoders/distilbert", "text", heads.TEXT, 2, SINGLE, {}),
    ("encoders/deberta", "text", heads.TEXT, 2, SINGLE, {}),
    ("encoders/modernbert", "text", heads.TEXT, 3, SINGLE, {}),
    ("encoders/modernbert", "tokens", heads.TOKEN, 4, TAGS, {}),
    ("encoders/modernbert", "own-mean", heads.TEXT, 2, MULTI, {}),
    ("llama-gqa", "text", heads.TEXT, 3, SINGLE, {}),
    ("llama-gqa", "dora", heads.TEXT, 6, SINGLE, {}),
    ("llama-gqa", "tokens", heads.TOKEN, 5, TAGS, {}),
    # The whole model.
    ("encoders/roberta", "own-text", heads.TEXT, 3, SINGLE, {}),
    ("encoders/bert", "own-tokens", heads.TOKEN, 5, TAGS, {}),
    ("encoders/distilbert", "own-text", heads.TEXT, 1, REGRESSION, {}),
]


def rows_of(config, task, classes, problem, typed, key):
    rng = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    rows = []
    for _ in range(2 * ROWS):
        n = int(torch.randint(4, 12, (1,), generator=rng))
        row = {"tokens": torch.randint(10, config.vocab_size, (n,), generator=rng).tolist()}
        if typed and getattr(config, "type_vocab_size", 0) > 1:
            row["types"] = torch.randint(0, config.type_vocab_size, (n,), generator=rng).tolist()
        if task == heads.TOKEN:
            labels = torch.randint(-1, classes, (n,), generator=rng)
            labels[0], labels[1] = -1, 0
            row["labels"] = labels.tolist()
        elif problem == MULTI:
            row["values"] = torch.randint(0, 2, (classes,), generator=rng).tolist()
        elif problem == REGRESSION:
            row["values"] = [round(float(torch.randn((), generator=rng)), 3)]
        else:
            row["labels"] = [int(torch.randint(0, classes, (1,), generator=rng))]
        rows.append(row)
    return [rows[:ROWS], rows[ROWS:]]


def loss_of(model, rows, task, problem, options):
    scores, labels, values = [], [], []
    for row in rows:  # each alone: nothing is padded
        more = {"token_type_ids": torch.tensor([row["types"]])} if "types" in row else {}
        out = model(input_ids=torch.tensor([row["tokens"]]), **more).logits
        scores.append(out[0, -len(row["tokens"]) :] if task == heads.TOKEN else out)
        labels += row.get("labels", [])
        values.append(row.get("values", []))
    scores = torch.cat(scores)
    if problem == MULTI:
        return functional.binary_cross_entropy_with_logits(scores, torch.tensor(values, dtype=torch.float32))
    if problem == REGRESSION:
        return functional.mse_loss(scores.flatten(), torch.tensor(values, dtype=torch.float32).flatten())
    weight = torch.tensor(options["weights"]) if "weights" in options else None
    return functional.cross_entropy(scores, torch.tensor(labels), weight, ignore_index=-1, label_smoothing=options.get("smoothing", 0.0))


def start(base, name, task, classes):
    """The model, and its trained parameters by the names of their files."""
    path = os.path.join(heads.ROOT, os.path.basename(base), name)
    seed(path)
    if name.startswith("own-"):
        config = transformers.AutoConfig.from_pretrained(path)
        model = heads.CLASSES[task].from_pretrained(base, config=config, dtype=torch.float32, attn_implementation="eager")
        model.load_state_dict(load_file(os.path.join(path, "model.safetensors")), strict=False)
        return model, {n: p for n, p in model.named_parameters()}
    model = heads.load(base, task, classes)
    if name == "bitfit":
        tensors = {k.removeprefix("base_model.model."): v for k, v in load_file(os.path.join(path, "adapter_model.safetensors")).items()}
        model.load_state_dict(tensors, strict=False)
        return model, {"base_model.model." + n: p for n, p in model.named_parameters() if n in tensors}
    config = PeftConfig.from_pretrained(path)
    if config.is_prompt_learning:  # which PEFT does not load to be trained
        config.inference_mode = False
        model = get_peft_model(model, config)
        set_peft_model_state_dict(model, load_file(os.path.join(path, "adapter_model.safetensors")))
    else:
        model = PeftModel.from_pretrained(model, path, is_trainable=True)
    return model, {saved_name(n).replace("modules_to_save.", ""): p for n, p in model.named_parameters() if p.requires_grad}


def run(base, name, task, classes, problem, options):
    model, params = start(base, name, task, classes)
    for p in model.parameters():
        p.requires_grad_(False)
    for p in params.values():
        p.requires_grad_(True)
    model.eval()  # no dropout
    key = f"{base}/{name}/{problem}/{sorted(options)}"
    batches = rows_of(model.config, task, classes, problem, name not in ("prompt", "prefix"), key)
    optimizer = torch.optim.AdamW([{"params": list(params.values()), "weight_decay": 0.0}], lr=LR)
    begun = {n: p.detach().clone() for n, p in params.items()}
    losses, norms = [], []
    for step in range(STEPS):
        loss = loss_of(model, batches[step % 2], task, problem, options)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            grads = {n: fingerprint(n, p.grad) for n, p in params.items() if p.grad is not None}
        norms.append(float(f"{torch.nn.utils.clip_grad_norm_([p for p in params.values() if p.grad is not None], CLIP):.9g}"))
        losses.append(float(f"{loss:.9g}"))
        optimizer.step()
    tensors = {n.removeprefix("base_model.model."): grads[n] + fingerprint(n, p.detach() - begun[n]) for n, p in params.items() if n in grads}
    print(f"{key}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, {len(grads)} tensors", flush=True)
    return {
        "folder": os.path.join(heads.ROOT, os.path.basename(base), name), "problem": problem, "classes": classes, **options,
        "batches": batches, "losses": losses, "grad_norms": norms, "tensors": tensors,
    }


def make_all(wanted=()):
    if wanted:
        return
    os.makedirs("classifying", exist_ok=True)
    for base in dict.fromkeys(case[0] for case in CASES):
        cases = [run(*case) for case in CASES if case[0] == base]
        write_json({"steps": STEPS, "lr": LR, "clip": CLIP, "cases": cases}, "classifying", os.path.basename(base) + ".json", indent=None)
