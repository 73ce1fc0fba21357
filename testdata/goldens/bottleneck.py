"""Bottleneck adapters of our own folder kind, held against AdapterHub's library.

The oracle is forward hooks on the transformers model, so that the maths is
in one short function (Bottleneck.forward); the adapters library then has to
give the same logits from the same weights.
"""

import os
import shutil

import adapters
import torch
from adapters import BnConfig, DoubleSeqBnConfig, ParBnConfig, SeqBnConfig
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import leaky_relu
from transformers.activations import get_activation

from lora import CONFIG_FILE, SAFE_FILE, TASK, folder
from oracle import golden, load_base, logits, seed, write_json

# Each layer's two sites: the sublayer, and the norm whose input is the residual stream.
SITES = {
    "llama": ("model.layers", {"mh_adapter": ("self_attn", "input_layernorm"), "output_adapter": ("mlp", "post_attention_layernorm")}),
    "gpt2": ("transformer.h", {"mh_adapter": ("attn", "ln_1"), "output_adapter": ("mlp", "ln_2")}),
}
# The keys of BnConfig that a folder of ours carries.
KEYS = [
    "mh_adapter",
    "output_adapter",
    "reduction_factor",
    "non_linearity",
    "original_ln_before",
    "original_ln_after",
    "ln_before",
    "ln_after",
    "residual_before_ln",
    "adapter_residual_before_ln",
    "is_parallel",
    "scaling",
    "use_gating",
    "leave_out",
    "init_weights",
    "dropout",
]

CASES = [
    ("llama-gqa", "houlsby", lambda: DoubleSeqBnConfig(reduction_factor=4)),
    ("llama-gqa", "pfeiffer", lambda: SeqBnConfig(reduction_factor=4)),
    ("llama-gqa", "parallel", lambda: ParBnConfig(reduction_factor=4)),
    ("llama-gqa", "houlsby-leave-out", lambda: DoubleSeqBnConfig(reduction_factor=4, leave_out=[0, 2])),
    (
        "llama-gqa",
        "norms",
        lambda: BnConfig(
            mh_adapter=True,
            output_adapter=False,
            reduction_factor={"1": 8, "default": 4},
            non_linearity="gelu",
            ln_before=True,
            ln_after=True,
            adapter_residual_before_ln=True,
            scaling="channel",
        ),
    ),
    (
        # AdapterPlus: the residual of the sublayer goes through the adapter only.
        "llama-gqa",
        "plus",
        lambda: BnConfig(
            mh_adapter=False,
            output_adapter=True,
            reduction_factor=5,
            non_linearity="gelu",
            original_ln_before=True,
            original_ln_after=False,
            residual_before_ln=False,
            scaling="learned",
        ),
    ),
    (
        "llama-gqa",
        "parallel-norms",
        lambda: ParBnConfig(mh_adapter=True, reduction_factor=8, non_linearity="leakyrelu", ln_before=True, ln_after=True),
    ),
    ("gpt2", "houlsby", lambda: DoubleSeqBnConfig(reduction_factor=4)),
    ("gpt2", "pfeiffer", lambda: SeqBnConfig(reduction_factor=4)),
    ("gpt2", "parallel", lambda: ParBnConfig(reduction_factor=4)),
]
# Saved by the library too, as input for a converter.
NATIVE = {"houlsby", "pfeiffer", "parallel"}
LAYER_NORM_EPS = 1e-5


class Bottleneck(nn.Module):
    def __init__(self, size, down, config):
        super().__init__()
        self.config = config
        self.adapter_down = nn.Linear(size, down)
        self.adapter_up = nn.Linear(down, size)
        if config["ln_before"]:
            self.adapter_norm_before = nn.LayerNorm(size, LAYER_NORM_EPS)
        if config["ln_after"]:
            self.adapter_norm_after = nn.LayerNorm(size, LAYER_NORM_EPS)
        if config["scaling"] == "learned":
            self.scaling = nn.Parameter(torch.ones(1))
        elif config["scaling"] == "channel":
            self.scaling = nn.Parameter(torch.ones(size))
        else:
            self.scaling = config["scaling"]
        name = config["non_linearity"]
        self.activation = leaky_relu if name == "leakyrelu" else get_activation(name)
        with torch.no_grad():
            for key, p in self.named_parameters():
                if key == "scaling" or "norm" in key and key.endswith("weight"):
                    p.uniform_(0.5, 1.5)
                else:
                    p.normal_(0.0, 0.2)

    def forward(self, h, x):
        """h is the sublayer's output, x the residual stream it will be added to."""
        c = self.config
        if c["is_parallel"]:
            z = x
        else:
            z = h + x if c["original_ln_before"] else h
        a = self.adapter_norm_before(z) if c["ln_before"] else z
        u = self.adapter_up(self.activation(self.adapter_down(a))) * self.scaling
        if c["is_parallel"]:
            out = (self.adapter_norm_after(u) if c["ln_after"] else u) + h
        else:
            r = h if c["residual_before_ln"] else z
            if c["adapter_residual_before_ln"]:
                u, r = u + r, 0
            out = (self.adapter_norm_after(u) if c["ln_after"] else u) + r
        # The model adds x: take it away where the config leaves it out.
        return out if c["original_ln_after"] else out - x


def factor(reduction, layer):
    if isinstance(reduction, dict):
        return reduction.get(str(layer), reduction.get("default"))
    return reduction


def attach(model, config):
    """Hook a Bottleneck onto every site of the config: name of the sublayer -> Bottleneck."""
    stem, sites = SITES[model.config.model_type]
    size = model.config.hidden_size
    made = {}
    for i, layer in enumerate(model.get_submodule(stem)):
        for key, (sublayer, norm) in sites.items():
            if not config[key] or i in config["leave_out"]:
                continue
            down = max(1, int(size // factor(config["reduction_factor"], i)))
            b = Bottleneck(size, down, config)
            made[f"{stem}.{i}.{sublayer}"] = b
            residual = {}

            def remember(module, args, residual=residual):
                residual["x"] = args[0]

            def insert(module, args, output, b=b, residual=residual):
                if isinstance(output, tuple):
                    return (b(output[0], residual["x"]), *output[1:])
                return b(output, residual["x"])

            getattr(layer, norm).register_forward_pre_hook(remember)
            getattr(layer, sublayer).register_forward_hook(insert)
    return made


def in_adapterhub(base, config, made):
    """The same weights in AdapterHub's model."""
    torch.manual_seed(0)  # for what the library draws and we overwrite
    model = load_base(base)
    adapters.init(model)
    model.add_adapter("golden", config=config)
    stem, sites = SITES[model.config.model_type]
    places = {"mh_adapter": "attention_adapters", "output_adapter": "output_adapters"}
    seen = 0
    with torch.no_grad():
        for i, layer in enumerate(model.get_submodule(stem)):
            for key, (sublayer, _) in sites.items():
                theirs = getattr(layer, places[key]).adapters
                if "golden" not in theirs:
                    continue
                theirs = theirs["golden"]
                ours = made[f"{stem}.{i}.{sublayer}"]
                seen += 1
                down = [m for m in theirs.adapter_down if isinstance(m, nn.Linear)][0]
                down.load_state_dict(ours.adapter_down.state_dict())
                theirs.adapter_up.load_state_dict(ours.adapter_up.state_dict())
                for norm in ("adapter_norm_before", "adapter_norm_after"):
                    if hasattr(ours, norm):
                        getattr(theirs, norm).load_state_dict(getattr(ours, norm).state_dict())
                if isinstance(ours.scaling, nn.Parameter):
                    theirs.scaling.copy_(ours.scaling)
    assert seen == len(made), (seen, len(made))
    model.set_active_adapters("golden")
    return model.eval()


def make(base, name, config):
    path = folder(base, "bottleneck-" + name)
    seed(path)
    config = config()
    settings = {key: config[key] for key in KEYS}
    model = load_base(base)
    made = attach(model, settings)
    tensors = {
        f"base_model.model.{site}.{key}": p.detach().clone() for site, b in made.items() for key, p in b.named_parameters()
    }
    write_json(
        {
            "base_model_name_or_path": base,
            "inference_mode": True,
            "peft_type": "BOTTLENECK",
            "task_type": TASK,
            **settings,
        },
        path,
        CONFIG_FILE,
    )
    save_file(tensors, os.path.join(path, SAFE_FILE), metadata={"format": "pt"})
    golden(model, os.path.join(path, "golden.safetensors"))

    theirs = in_adapterhub(base, config, made)
    probe = list(range(2, 14))
    gap = (logits(theirs, probe) - logits(model, probe)).abs().max()
    effect = (logits(model, probe) - logits(load_base(base), probe)).abs().max()
    print(f"  effect {effect:.3f}, AdapterHub differs by {gap:.2g}")
    if name in NATIVE:
        native = os.path.join(base, "adapterhub", name)
        shutil.rmtree(native, ignore_errors=True)
        os.makedirs(native)
        theirs.save_adapter(native, "golden", with_head=False, use_safetensors=base == "gpt2")


def make_all(wanted=()):
    for base, name, config in CASES:
        if not wanted or f"{base}/{name}" in wanted:
            make(base, name, config)
