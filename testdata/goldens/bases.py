"""Tiny random base models in Hugging Face folder form, and their goldens."""

import os

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from oracle import EOS, LONG_PROMPTS, golden, load_base, read_json, seed, write_json

VOCAB = 96
SMALL = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    bos_token_id=0,
    eos_token_id=EOS,
    pad_token_id=None,
    attention_dropout=0.0,
)
LLAMA3_ROPE = dict(
    rope_type="llama3",
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)

BASES = {
    # Multi-head attention, untied head.
    "llama": lambda: LlamaConfig(
        **{**SMALL, "num_key_value_heads": 4}, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False
    ),
    # Grouped queries, tied head, llama3 RoPE; three layers for layers_to_transform.
    "llama-gqa": lambda: LlamaConfig(
        **{**SMALL, "num_hidden_layers": 3},
        rms_norm_eps=1e-6,
        rope_theta=500.0,
        rope_scaling=dict(LLAMA3_ROPE),
        tie_word_embeddings=True,
    ),
    # Every key is at most 11 positions behind its query.
    "mistral": lambda: MistralConfig(**SMALL, rms_norm_eps=1e-5, sliding_window=12, tie_word_embeddings=False),
    "qwen2": lambda: Qwen2Config(
        **SMALL, rms_norm_eps=1e-6, rope_theta=1000000.0, use_sliding_window=False, tie_word_embeddings=True
    ),
    # head_dim is not hidden/heads.
    "qwen3": lambda: Qwen3Config(
        **SMALL, head_dim=12, rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=False
    ),
    # Two blocks of experts, of which a token goes to two, around a dense one.
    "qwen3moe": lambda: Qwen3MoeConfig(
        **{**SMALL, "num_hidden_layers": 3},
        head_dim=12,
        num_experts=5,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        moe_intermediate_size=20,
        mlp_only_layers=[1],
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        tie_word_embeddings=False,
    ),
    # Two kinds of layers, of which each is there twice; a scale that is not the heads'.
    "gemma3": lambda: Gemma3TextConfig(
        **{**SMALL, "num_hidden_layers": 4},
        head_dim=12,
        rms_norm_eps=1e-6,
        rope_theta=1000.0,
        rope_local_base_freq=50.0,
        query_pre_attn_scalar=10,
        sliding_window=12,
        sliding_window_pattern=2,
        tie_word_embeddings=True,
    ),
    # Fused projections; every key is at most 19 positions behind its query.
    "phi3": lambda: Phi3Config(**SMALL, rms_norm_eps=1e-5, sliding_window=20, tie_word_embeddings=False),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCAB,
        n_embd=32,
        n_inner=64,
        n_layer=2,
        n_head=4,
        n_positions=96,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=EOS,
    ),
}

# The same weights under another config: <base>/config.<variant>.json and golden.<variant>.safetensors.
VARIANTS = {
    "llama": {
        "linear": dict(rope_scaling=dict(rope_type="linear", factor=4.0)),
        # Beyond 32 positions the frequencies depend on the length of the input.
        "dynamic": dict(rope_scaling=dict(rope_type="dynamic", factor=2.0), max_position_embeddings=32),
        "yarn": dict(
            rope_scaling=dict(
                rope_type="yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=4.0, beta_slow=1.0
            ),
            rope_theta=20.0,  # slow enough that some frequencies lie on the ramp
        ),
        # The name that configs written before 2024 use.
        "linear-legacy": dict(rope_scaling=dict(type="linear", factor=2.0)),
    },
    "qwen3moe": {"unnormalised": dict(norm_topk_prob=False), "three": dict(num_experts_per_tok=3), "window": dict(use_sliding_window=True, sliding_window=12)},
    # Of the layers that see everything alone.
    "gemma3": {"linear": dict(rope_scaling=dict(rope_type="linear", factor=4.0))},
}


def randomise(model, std=0.25):
    """Weights large enough that every term shows in the logits."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(".bias"):
                p.normal_(0.0, 0.2)
            elif p.ndim == 1:
                offset = 0.0 if p.any() else 1.0  # a norm that begins at 0 acts with 1 added
                p.uniform_(0.5, 1.5).sub_(offset)
            else:
                p.normal_(0.0, std)


def make(base):
    seed(base)
    config = BASES[base]()
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    randomise(model)
    if config.tie_word_embeddings:
        model.tie_weights()
    model.save_pretrained(base)
    model = load_base(base)
    golden(model, os.path.join(base, "golden.safetensors"), LONG_PROMPTS, rows=max(LONG_PROMPTS))
    for variant, changes in VARIANTS.get(base, {}).items():
        write_json({**read_json(base, "config.json"), **changes}, base, f"config.{variant}.json")
        golden(
            load_base(base, variant),
            os.path.join(base, f"golden.{variant}.safetensors"),
            LONG_PROMPTS,
            with_greedy=variant != "dynamic",
        )


def make_all(wanted=()):
    for base in BASES:
        if not wanted or base in wanted:
            make(base)
