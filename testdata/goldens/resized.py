"""Adapters of resized vocabularies, made by PEFT: tokens added, or padding cut."""

import os

import torch
from peft import LoraConfig, PeftModel, TrainableTokensConfig, get_peft_model

from lora import QV, TASK, folder, lora, randomise, save
from oracle import golden, load_base, seed

MORE, FEWER = 103, 90
NEW = [96, 100, 102]

# (base, name, rows, config, save_embedding_layers)
CASES = [
    # What people who add tokens have: both embeddings trained and saved whole.
    ("llama", "resized-save", MORE, lambda: lora(target_modules=QV, modules_to_save=["embed_tokens", "lm_head"]), "auto"),
    ("llama-gqa", "resized-save", MORE, lambda: lora(target_modules=QV, modules_to_save=["embed_tokens", "lm_head"]), "auto"),
    ("llama", "resized-fewer", FEWER, lambda: lora(target_modules=QV, modules_to_save=["embed_tokens", "lm_head"]), "auto"),
    # One trained, the other only resized.
    ("llama-gqa", "resized-save-embed", MORE, lambda: lora(target_modules=QV, modules_to_save=["embed_tokens"]), "auto"),
    # Neither trained.
    ("llama", "resized-frozen", MORE, lambda: lora(target_modules=QV), "auto"),
    ("llama-gqa", "resized-frozen", MORE, lambda: lora(target_modules=QV), True),
    # LoRA on them.
    ("llama", "resized-lora", MORE, lambda: lora(target_modules=[*QV, "embed_tokens", "lm_head"]), "auto"),
    ("llama-gqa", "resized-lora-embed", MORE, lambda: lora(target_modules=[*QV, "embed_tokens"]), "auto"),
    ("llama", "resized-dora-head", MORE, lambda: lora(use_dora=True, target_modules=["q_proj", "embed_tokens", "lm_head"]), "auto"),
    # The new tokens alone trained.
    ("llama", "resized-tokens", MORE, lambda: lora(target_modules=QV, trainable_token_indices=NEW), "auto"),
    ("llama-gqa", "resized-tokens", MORE, lambda: lora(target_modules=QV, trainable_token_indices=NEW), "auto"),
    ("llama-gqa", "resized-tokens-alone", MORE, lambda: TrainableTokensConfig(task_type=TASK, token_indices=NEW), "auto"),
    (
        "gpt2",
        "resized-save",
        MORE,
        lambda: LoraConfig(task_type=TASK, target_modules=["c_attn"], modules_to_save=["wte", "lm_head"], fan_in_fan_out=True),
        "auto",
    ),
]


def resized(base, rows):
    """The base with another vocabulary, whose new rows are as large as the old."""
    model = load_base(base)
    old = model.config.vocab_size
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[old:].normal_(0.0, 0.25)
    return model


def make(base, name, rows, config, save_embedding_layers):
    path = folder(base, name)
    seed(path)
    model = get_peft_model(resized(base, rows), config())
    randomise(model)
    model.eval()
    save(model, path, save_embedding_layers=save_embedding_layers)
    # PEFT reads the folder back onto a base whose new rows are others.
    loaded = PeftModel.from_pretrained(resized(base, rows), path).eval()
    probe = torch.tensor([[*range(2, 14), rows - 1, rows - 2]])
    lost = (loaded(probe).logits - model(probe).logits).abs().max()
    assert lost < 1e-4, (path, lost)
    golden(loaded, os.path.join(path, "golden.safetensors"))


def make_all(wanted=()):
    for base, name, *case in CASES:
        if not wanted or f"{base}/{name}" in wanted:
            make(base, name, *case)
