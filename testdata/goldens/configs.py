"""What config.json holds as the installed transformers saves it, by architecture.

python configs.py: writes configs/transformers-<major>.json.
"""

import json
import os

import transformers
from transformers import (
    BertConfig,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    MPNetConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

CLASSES = (Gemma3TextConfig, GPT2Config, LlamaConfig, MistralConfig, Phi3Config, Qwen2Config, Qwen3Config, Qwen3MoeConfig)
ENCODERS = (BertConfig, CamembertConfig, DistilBertConfig, ElectraConfig, ModernBertConfig, MPNetConfig, RobertaConfig, XLMRobertaConfig)

SCALINGS = {
    "linear": dict(rope_type="linear", factor=4.0),
    "dynamic": dict(rope_type="dynamic", factor=2.0),
    "yarn": dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=8192),
    "llama3": dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192
    ),
}


def main():
    configs = {c.__name__: c().to_dict() for c in CLASSES + ENCODERS}
    for name, scaling in SCALINGS.items():
        configs[f"LlamaConfig, {name}"] = LlamaConfig(rope_scaling=dict(scaling)).to_dict()
    configs["Gemma3TextConfig, linear"] = Gemma3TextConfig(rope_scaling=dict(rope_type="linear", factor=8.0)).to_dict()
    configs["Qwen2Config, window"] = Qwen2Config(use_sliding_window=True, sliding_window=4096, max_window_layers=16).to_dict()
    configs["DebertaV2Config"] = DebertaV2Config(
        relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True
    ).to_dict()
    if hasattr(transformers, "NomicBertConfig"):  # from transformers 5 on
        configs["NomicBertConfig"] = transformers.NomicBertConfig().to_dict()
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"transformers-{transformers.__version__.split('.')[0]}.json"), "w") as f:
        json.dump(configs, f, indent=1, sort_keys=True)
        f.write("\n")


main()
