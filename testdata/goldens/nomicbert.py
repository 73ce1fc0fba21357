"""A tiny NomicBERT of transformers 5, which alone has it: python nomicbert.py.

encoders-gguf/nomic-bert: the folder as save_pretrained writes it, golden.safetensors and
grads.safetensors as encoders.py has them. encoders_gguf.py converts it.
"""

import os
import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import NomicBertConfig, NomicBertModel

ROOT = os.path.dirname(os.path.abspath(__file__))
PATH = "encoders-gguf/nomic-bert"
VOCAB = 18  # of sentences/tiny
LENGTHS = (1, 7, 33, 70)
ALL = 8  # tokens of a text of which every row is kept


def stored(tensors, layers):
    """Parameters by their names in the file, where query, key and value are one."""
    tensors = dict(tensors)
    for i in range(layers):
        parts = [tensors.pop(f"layers.{i}.self_attn.{p}_proj.weight") for p in "qkv"]
        tensors[f"layers.{i}.attn.Wqkv.weight"] = torch.cat(parts)
    names = {
        "layers.": "encoder.layers.", "embeddings.LayerNorm": "emb_ln", "self_attn.o_proj": "attn.out_proj", "up_proj": "fc11", "gate_proj": "fc12",
        "down_proj": "fc2", "post_attention_layernorm": "norm1", "post_mlp_layernorm": "norm2",
    }  # fmt: skip
    renamed = {}
    for name, tensor in tensors.items():
        for new, old in names.items():
            name = name.replace(new, old)
        renamed[name] = tensor.contiguous()
    return renamed


def main():
    os.chdir(ROOT)
    torch.set_num_threads(1)
    torch.manual_seed(7)
    shutil.rmtree(PATH, ignore_errors=True)
    config = NomicBertConfig(
        vocab_size=VOCAB, hidden_size=8, intermediate_size=10, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=80, type_vocab_size=2,
        rope_parameters=dict(rope_type="default", rope_theta=50.0),
    )  # fmt: skip
    model = NomicBertModel(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(".bias"):
                p.normal_(0.0, 0.2)
            elif p.ndim == 1:
                p.uniform_(0.5, 1.5)
            else:
                p.normal_(0.0, 0.25)
    model.save_pretrained(PATH)
    file = load_file(f"{PATH}/model.safetensors")
    want = stored(model.named_parameters(), config.num_hidden_layers)
    assert file.keys() == want.keys() and all(torch.equal(file[k], want[k]) for k in file), sorted(file)

    model = NomicBertModel.from_pretrained(PATH, dtype=torch.float32, attn_implementation="eager").eval()
    tensors, loss = {}, 0
    for i, length in enumerate(LENGTHS):
        tokens, types = torch.randint(4, VOCAB, (length,)), torch.randint(0, 2, (length,))  # no padding, which has no gradient
        states = model(input_ids=tokens[None], token_type_ids=types[None]).last_hidden_state[0]
        tensors[f"tokens.{i}"], tensors[f"types.{i}"] = tokens.to(torch.int32), types.to(torch.int32)
        if i >= 2:
            row, column = torch.arange(length)[:, None], torch.arange(config.hidden_size)[None]
            loss = loss + (states * ((7 * row + 3 * column) % 11 - 5)).sum()
        if length > ALL:
            kept = torch.tensor(sorted({0, 1, length // 3, length // 2, 31, 32, length - 2, length - 1}), dtype=torch.int32)
            tensors[f"rows.{i}"], states = kept, states[kept]
        tensors[f"hidden.{i}"] = states.detach().contiguous()
    save_file(tensors, f"{PATH}/golden.safetensors")
    loss.backward()
    save_file(stored({k: p.grad for k, p in model.named_parameters()}, config.num_hidden_layers), f"{PATH}/grads.safetensors")


main()
