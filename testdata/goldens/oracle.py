"""What every golden file holds: prompts, their logits and a greedy continuation."""

import json
import os
import zlib

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = os.path.dirname(os.path.abspath(__file__))
EOS = 1
GREEDY_TOKENS = 16
# A greedy golden is only fair if no step is close to a tie.
MIN_MARGIN = 0.02

LONG_PROMPTS = (1, 7, 40, 70)
SHORT_PROMPTS = (5, 36)
# Adapters and config variants keep the logits of this many last positions.
LAST_ROWS = 8


def seed(name):
    """Seed torch from a name, so that one case never moves another."""
    torch.manual_seed(zlib.crc32(name.encode()))


def load_base(base, variant=None):
    """Load a base model of this folder in f32 with eager attention.

    The folder name is relative so that no machine path ends up in a saved
    adapter_config.json; make.py changes into ROOT first.
    """
    config = None
    if variant:
        config = AutoConfig.for_model(**read_json(base, f"config.{variant}.json"))
    model = AutoModelForCausalLM.from_pretrained(
        base, config=config, dtype=torch.float32, attn_implementation="eager"
    )
    model.config.use_cache = False
    return model.eval()


def read_json(*path):
    with open(os.path.join(*path)) as f:
        return json.load(f)


def write_json(value, *path, indent=1):
    with open(os.path.join(*path), "w") as f:
        json.dump(value, f, indent=indent)
        f.write("\n")


def reset_rope(model):
    """Undo what dynamic RoPE remembers of earlier, longer inputs."""
    for module in model.modules():
        if hasattr(module, "max_seq_len_cached"):
            module.register_buffer("inv_freq", module.original_inv_freq, persistent=False)
            module.max_seq_len_cached = module.original_max_seq_len


@torch.no_grad()
def logits(model, tokens):
    reset_rope(model)
    out = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].float()
    return out[-len(tokens) :]  # without the rows of virtual tokens


def greedy(model, tokens, count):
    """Continue greedily without a cache; None where a step is nearly a tie or ends the text."""
    out = []
    for _ in range(count):
        best = logits(model, tokens + out)[-1].topk(2)
        if best.values[0] - best.values[1] < MIN_MARGIN or best.indices[0] == EOS:
            return None
        out.append(int(best.indices[0]))
    return out


def golden(model, path, lengths=SHORT_PROMPTS, rows=LAST_ROWS, with_greedy=True, within=()):
    """Write golden.safetensors: tokens.N [len] i32, logits.N [min(len,rows),vocab] f32, greedy.N [16] i32."""
    vocab = model.config.vocab_size
    tensors = {}
    rng = torch.Generator().manual_seed(zlib.crc32(path.encode()))
    spread = []
    for i, length in enumerate(lengths):
        for _ in range(200):
            tokens = torch.randint(2, vocab, (length,), generator=rng).tolist()
            for at in (length // 5, length // 2):  # of aLoRA's invocations the last counts
                tokens[at : at + len(within)] = within
            assert len(tokens) == length
            continuation = greedy(model, tokens, GREEDY_TOKENS) if with_greedy else []
            if continuation is not None:
                break
        else:
            raise RuntimeError(f"{path}: no prompt of {length} tokens without near ties")
        values = logits(model, tokens)
        spread.append(float(values.std()))
        tensors[f"tokens.{i}"] = torch.tensor(tokens, dtype=torch.int32)
        tensors[f"logits.{i}"] = values[-rows:].contiguous()
        if with_greedy:
            tensors[f"greedy.{i}"] = torch.tensor(continuation, dtype=torch.int32)
    save_file(tensors, path)
    print(f"{path}: logit std {' '.join(f'{s:.2f}' for s in spread)}", flush=True)
