"""Heads of tasks: of base checkpoints, and of adapters by PEFT, on the tiny bases.

heads/<base>/<name>/ is an adapter, or (own-…) the config.json and the head's tensors of a base whose other tensors
are those of the base's folder. golden.safetensors: tokens.N [len] i32, types.N where the model has types,
scores.N [1,classes] f32, or [len,classes] of token classification.
"""

import os
import shutil
import zlib

import torch
import transformers
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import save_file

from lora import CONFIG_FILE, SAFE_FILE, save
from lora import randomise as randomise_adapter
from oracle import seed, write_json

ROOT = "heads"
TEXT, TOKEN = "SEQ_CLS", "TOKEN_CLS"
CLASSES = {TEXT: transformers.AutoModelForSequenceClassification, TOKEN: transformers.AutoModelForTokenClassification}
LENGTHS = (5, 23)
ENTITIES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def lora(task, **options):
    return LoraConfig(task_type=task, r=2, lora_alpha=4, **options)


# (base, name, task, number of classes, values of the base's configuration)
OWN = [
    ("encoders/roberta", "own-text", TEXT, 3, dict(id2label={0: "entailment", 1: "neutral", 2: "contradiction"})),
    ("encoders/distilbert", "own-text", TEXT, 1, dict(problem_type="regression")),
    ("encoders/electra", "own-text", TEXT, 2, {}),
    ("encoders/mpnet", "own-text", TEXT, 4, dict(problem_type="multi_label_classification")),
    ("encoders/deberta", "own-text", TEXT, 3, {}),
    ("encoders/modernbert", "own-text", TEXT, 3, {}),
    ("encoders/modernbert", "own-mean", TEXT, 2, dict(classifier_pooling="mean", classifier_bias=True, classifier_activation="relu")),
    ("encoders/modernbert", "own-tokens", TOKEN, 4, {}),
    ("encoders/bert", "own-tokens", TOKEN, 5, dict(id2label=dict(enumerate(ENTITIES)))),
    # Texts of 23 tokens end with two of padding.
    ("gpt2", "own-text", TEXT, 3, dict(pad_token_id=9)),
    ("qwen3", "own-tokens", TOKEN, 3, {}),
]

# (base, name, task, number of classes, PEFT's configuration)
CASES = [
    ("encoders/bert", "text", TEXT, 3, lambda: lora(TEXT, target_modules=["query", "value"])),
    ("encoders/bert", "tokens", TOKEN, 5, lambda: lora(TOKEN, target_modules=["query", "value"])),
    ("encoders/bert", "ia3", TEXT, 1, lambda: IA3Config(task_type=TEXT)),
    ("encoders/bert", "prompt", TEXT, 2, lambda: PromptTuningConfig(task_type=TEXT, num_virtual_tokens=3)),
    ("encoders/bert", "prefix", TEXT, 4, lambda: PrefixTuningConfig(task_type=TEXT, num_virtual_tokens=3)),
    ("encoders/bert", "prompt-tokens", TOKEN, 3, lambda: PromptTuningConfig(task_type=TOKEN, num_virtual_tokens=3)),
    ("encoders/bert", "pooler", TEXT, 2, lambda: lora(TEXT, target_modules=["query"], modules_to_save=["pooler"])),
    ("encoders/bert", "alone", TEXT, 3, lambda: lora(TEXT, target_modules="dummy-target-modules")),
    # Of a base with a head of 5 classes.
    ("encoders/bert-classifier", "text", TEXT, 3, lambda: lora(TEXT, target_modules=["query"])),
    ("encoders/bert-classifier", "untold", TEXT, 2, lambda: LoraConfig(r=2, target_modules=["query"], modules_to_save=["classifier"])),
    ("encoders/bert-classifier", "tokens", TOKEN, 7, lambda: lora(TOKEN, target_modules=["query"])),
    ("encoders/bert-classifier", "headless", TEXT, 5, lambda: LoraConfig(r=2, target_modules=["query", "classifier"])),
    ("encoders/roberta", "all-linear", TEXT, 2, lambda: lora(TEXT, target_modules="all-linear")),
    ("encoders/roberta", "tokens", TOKEN, 4, lambda: lora(TOKEN)),
    ("encoders/distilbert", "text", TEXT, 2, lambda: lora(TEXT, target_modules=["q_lin", "v_lin"])),
    ("encoders/electra", "text", TEXT, 2, lambda: lora(TEXT, target_modules=["query", "value"])),
    ("encoders/mpnet", "text", TEXT, 2, lambda: lora(TEXT, target_modules=["attn.q", "attn.v"])),
    # The pooler is a part of the head, which PEFT does not save by itself.
    ("encoders/deberta", "text", TEXT, 2, lambda: lora(TEXT, target_modules=["query_proj"], modules_to_save=["classifier", "pooler"])),
    # So is the dense layer of ModernBERT's head, and its norm.
    ("encoders/modernbert", "text", TEXT, 3, lambda: lora(TEXT, target_modules=["Wqkv"], modules_to_save=["classifier", "head"])),
    ("encoders/modernbert", "tokens", TOKEN, 4, lambda: lora(TOKEN, target_modules=["Wqkv"], modules_to_save=["classifier", "head"])),
    ("llama-gqa", "text", TEXT, 3, lambda: lora(TEXT, target_modules=["q_proj", "v_proj"])),
    ("llama-gqa", "dora", TEXT, 6, lambda: lora(TEXT, target_modules=["q_proj"], use_dora=True)),
    ("llama-gqa", "tokens", TOKEN, 5, lambda: lora(TOKEN, target_modules=["k_proj", "down_proj"])),
    ("llama-gqa", "prompt", TEXT, 2, lambda: PromptTuningConfig(task_type=TEXT, num_virtual_tokens=3)),
    ("gpt2", "tokens", TOKEN, 3, lambda: lora(TOKEN, target_modules=["c_attn"], fan_in_fan_out=True)),
    ("gemma3", "text", TEXT, 3, lambda: lora(TEXT, target_modules=["q_proj", "v_proj"])),
]
# Adapters beside which the names of classes lie.
NAMED = {("encoders/bert", "tokens"): ENTITIES, ("llama-gqa", "text"): ["bad", "so so", "good"]}


def load(base, task, classes, values={}):
    options = {"ignore_mismatched_sizes": True, **values}
    model = CLASSES[task].from_pretrained(base, num_labels=classes, dtype=torch.float32, attn_implementation="eager", **options)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                p.normal_(1.0, 0.4) if is_head(name) else None
            elif is_head(name) and base != "encoders/bert-classifier":
                p.normal_(0.0, 0.4)
    return model.eval()


def is_head(name):
    return name.startswith(("head.", "classifier.", "pre_classifier.", "pooler.", "score."))


def folder(base, name):
    path = os.path.join(ROOT, os.path.basename(base), name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


@torch.no_grad()
def golden(model, path, config, task, typed=True):
    tensors = {}
    rng = torch.Generator().manual_seed(zlib.crc32(path.encode()))
    for i, length in enumerate(LENGTHS):
        tokens = torch.randint(10, config.vocab_size, (length,), generator=rng)
        if getattr(config, "pad_token_id", None) == 9 and i == 1:
            tokens[-2:] = 9
        options = {}
        if typed and getattr(config, "type_vocab_size", 0) > 1:
            types = torch.randint(0, config.type_vocab_size, (length,), generator=rng)
            tensors[f"types.{i}"] = types.to(torch.int32)
            options["token_type_ids"] = types[None]
        scores = model(input_ids=tokens[None], **options).logits
        tensors[f"tokens.{i}"] = tokens.to(torch.int32)
        tensors[f"scores.{i}"] = (scores[0, -length:] if task == TOKEN else scores).contiguous()
    save_file(tensors, os.path.join(path, "golden.safetensors"))
    print(f"{path}: std {float(tensors['scores.1'].std()):.2f}", flush=True)


def make_own(base, name, task, classes, values):
    path = folder(base, name)
    seed(path)
    model = load(base, task, classes, {k: v for k, v in values.items() if k.startswith("classifier_")})
    for key, value in values.items():
        setattr(model.config, key, value)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(path)
    save_file({k: p.detach().clone() for k, p in model.named_parameters() if is_head(k)}, os.path.join(path, "model.safetensors"))
    golden(model, path, model.config, task)


def make(base, name, task, classes, config):
    path = folder(base, name)
    seed(path)
    model = load(base, task, classes)
    model = get_peft_model(model, config())
    randomise_adapter(model)
    save(model.eval(), path)
    if (base, name) in NAMED:
        write_json({"id2label": {str(i): n for i, n in enumerate(NAMED[base, name])}}, path, "config.json")
    loaded = PeftModel.from_pretrained(load(base, task, classes), path).eval()
    golden(loaded, path, loaded.config, task, typed=not config().is_prompt_learning)


def make_bitfit(base, name, task, classes):
    """Ours: all biases, and the head."""
    path = folder(base, name)
    seed(path)
    model = load(base, task, classes)
    tensors = {}
    with torch.no_grad():
        for key, p in model.named_parameters():
            if key.endswith(".bias"):
                p.add_(torch.empty_like(p).normal_(0.0, 0.3))
            if key.endswith(".bias") or is_head(key):
                tensors["base_model.model." + key] = p.detach().clone()
    values = {"base_model_name_or_path": base, "inference_mode": True, "modules_to_save": ["classifier", "score"], "peft_type": "BITFIT", "task_type": task}
    write_json(values, path, CONFIG_FILE)
    save_file(tensors, os.path.join(path, SAFE_FILE), metadata={"format": "pt"})
    golden(model, path, model.config, task)


def make_all(wanted=()):
    def asked(base, name):
        return not wanted or f"{ROOT}/{os.path.basename(base)}/{name}" in wanted

    for cases, made in ((OWN, make_own), (CASES, make), ([("encoders/bert", "bitfit", TEXT, 4)], make_bitfit)):
        for base, name, *rest in cases:
            if asked(base, name):
                made(base, name, *rest)
