"""Tiny bases beside the GGUF files that llama.cpp's own converter makes of them.

python converted.py LLAMA_CPP: a checkout of the commit that scripts/goldens.sh
names. Cases share weights, <name>.safetensors; weights.json says which. Each case
has config.json, the converter's model.gguf, and the logits of transformers on
the folder. The vocabulary in the files is made up: no text is read with it.
"""

import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, LlamaConfig, Phi3Config, Qwen2Config, Qwen3Config, Qwen3MoeConfig

import bases
import oracle

LENGTHS = (5, 40, 70)
VOCAB = 40
SMALL = dict(
    vocab_size=VOCAB,
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
    max_position_embeddings=128,
    rope_theta=500.0,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=oracle.EOS,
)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
BIASES = dict(attention_bias=True, mlp_bias=True)

# The weights by name.
WEIGHTS = {
    "llama": lambda: LlamaConfig(**SMALL),
    "llama-biases": lambda: LlamaConfig(**{**SMALL, "tie_word_embeddings": False}, **BIASES),
    "qwen2": lambda: Qwen2Config(**{k: v for k, v in SMALL.items() if k != "head_dim"}, use_sliding_window=False),
    "qwen3": lambda: Qwen3Config(**SMALL),
    "qwen3moe": lambda: Qwen3MoeConfig(**SMALL, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True, moe_intermediate_size=8),
    # As many layers as the last, the sixth, of a row sees everything and one is beyond.
    "gemma3": lambda: Gemma3TextConfig(
        **{**SMALL, "num_hidden_layers": 7, "hidden_size": 8, "head_dim": 8, "intermediate_size": 8},
        query_pre_attn_scalar=8,
        sliding_window=12,
    ),
    "phi3": lambda: Phi3Config(**{**{k: v for k, v in SMALL.items() if k != "head_dim"}, "tie_word_embeddings": False}, pad_token_id=None),
    "gpt2": lambda: GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=96, n_ctx=96),
}
MISTRAL = dict(architectures=["MistralForCausalLM"], model_type="mistral", sliding_window=None)
# Each case: its weights, and what is different in the configuration.
CASES = {
    "llama": ("llama", {}),
    "llama-linear": ("llama", dict(rope_scaling=dict(rope_type="linear", factor=4.0))),
    "llama-dynamic": ("llama", dict(rope_scaling=dict(rope_type="dynamic", factor=2.0))),
    "llama-llama3": ("llama", dict(rope_scaling=dict(bases.LLAMA3_ROPE))),
    "llama-yarn": ("llama", dict(rope_scaling=YARN)),
    "llama-yarn-attention": ("llama", dict(rope_scaling=dict(YARN, attention_factor=1.4))),
    "llama-yarn-betas": ("llama", dict(rope_scaling=dict(YARN, attention_factor=1.4, beta_fast=4.0, beta_slow=0.5))),
    "llama-biases": ("llama-biases", {}),
    "mistral": ("llama", MISTRAL),
    "mistral-window": ("llama", dict(MISTRAL, sliding_window=12)),
    "mistral-yarn": ("llama", dict(MISTRAL, rope_scaling=dict(YARN, attention_factor=1.4))),
    "qwen2": ("qwen2", {}),
    "qwen2-yarn": ("qwen2", dict(rope_scaling=YARN)),
    "qwen3": ("qwen3", {}),
    "qwen3-linear": ("qwen3", dict(rope_scaling=dict(rope_type="linear", factor=4.0))),
    "qwen3moe": ("qwen3moe", {}),
    "gemma3": ("gemma3", {}),
    "gemma3-linear": ("gemma3", dict(rope_scaling=dict(rope_type="linear", factor=4.0))),
    "phi3": ("phi3", {}),
    "phi3-window": ("phi3", dict(sliding_window=12)),
    "gpt2": ("gpt2", {}),
}


def weights(name, folder):
    oracle.seed("converted/" + name)
    model = AutoModelForCausalLM.from_config(WEIGHTS[name](), attn_implementation="eager")
    bases.randomise(model)
    model.tie_weights()
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))


def convert(folder, to, case):
    """Run the converter, whose vocabulary is replaced: the tiny models have none."""
    from conversion import ModelType, get_model_architecture, get_model_class
    from conversion.base import ModelBase, TextModel, gguf

    kind = get_model_class(get_model_architecture(ModelBase.load_hparams(folder, False), ModelType.TEXT))

    def set_vocab(self):
        self.gguf_writer.add_tokenizer_model("gpt2")
        self.gguf_writer.add_tokenizer_pre("gpt-2")
        self.gguf_writer.add_token_list(["t", "0"] + [f"t{i}" for i in range(VOCAB - 2)])
        self.gguf_writer.add_token_types([gguf.TokenType.NORMAL] * VOCAB)
        self.gguf_writer.add_token_merges(["t 0"])

    plain = type(kind.__name__, (kind,), dict(set_vocab=set_vocab, model_arch=kind.model_arch))
    with torch.inference_mode():
        plain(folder, gguf.LlamaFileType.ALL_F32, Path(to), model_name=case).write()


def make(case):
    name, changes = CASES[case]
    os.makedirs(f"converted/{case}", exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        weights(name, folder)
        config = {**oracle.read_json(folder, "config.json"), **changes}
        oracle.write_json(config, folder, "config.json")
        shutil.copy(f"{folder}/config.json", f"converted/{case}/config.json")
        shutil.copy(f"{folder}/model.safetensors", f"converted/{name}.safetensors")
        # Some converters ask for the size of the vocabulary.
        oracle.write_json({"model": {"vocab": {str(i): i for i in range(VOCAB)}}, "added_tokens": []}, folder, "tokenizer.json")
        convert(Path(folder), f"converted/{case}/model.gguf", case)
        oracle.golden(oracle.load_base(folder), f"converted/{case}/golden.safetensors", LENGTHS, with_greedy=False)


def main():
    os.chdir(oracle.ROOT)
    sys.path[:0] = [sys.argv[1], os.path.join(sys.argv[1], "gguf-py")]
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for case in CASES:
        make(case)
    oracle.write_json({case: name for case, (name, _) in CASES.items()}, "converted/weights.json")


main()
