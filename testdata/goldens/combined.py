"""What peft's add_weighted_adapter makes of the LoRAs of this folder: tensors and configuration.

DARE draws its mask, so it is held at density 1 alone, where nothing is dropped.
"""

import os
import shutil

from peft import PeftModel

from oracle import load_base, seed, write_json

# name: (base, adapters, weights, options)
CASES = {
    "linear": ("llama-gqa", ["lora", "rslora"], [0.7, 0.3], {}),
    "linear-three": ("llama-gqa", ["rslora", "lora", "lora-bf16"], [0.5, -0.8, 1.3], {}),
    "linear-union": ("llama-gqa", ["lora-other", "lora-all-linear"], [1.0, 0.5], {}),
    "linear-patterns": ("llama-gqa", ["lora-patterns", "lora-patterns"], [0.7, -0.2], {}),
    "linear-layers": ("llama-gqa", ["lora", "lora-layers"], [0.6, 0.9], {}),
    "linear-regex": ("llama-gqa", ["lora-regex", "lora-regex"], [0.6, 0.9], {}),
    "linear-embed": ("llama-gqa", ["lora-embed", "lora"], [0.6, 0.9], {}),
    "linear-conv1d": ("gpt2", ["lora", "rslora"], [0.6, 0.9], {}),
    "cat": ("llama-gqa", ["lora", "rslora"], [0.7, -0.3], {}),
    "cat-ranks": ("llama-gqa", ["lora-other", "lora-all-linear", "lora"], [0.7, 0.3, 0.1], {}),
    "cat-patterns": ("llama-gqa", ["lora-patterns", "rslora-patterns"], [0.7, 0.3], {}),
    "cat-embed": ("llama-gqa", ["lora", "lora-embed"], [0.6, 0.9], {}),
    "ties": ("llama-gqa", ["lora", "rslora"], [0.7, 0.3], {"density": 0.5}),
    "ties-three": ("llama-gqa", ["rslora", "lora", "lora-layers"], [0.5, -0.8, 1.3], {"density": 0.37}),
    "ties-frequency": ("llama-gqa", ["rslora", "lora", "lora-layers"], [0.5, -0.8, 1.3], {"density": 0.6, "majority_sign_method": "frequency"}),
    "magnitude_prune": ("llama-gqa", ["rslora", "lora", "lora-layers"], [0.5, 0.8, 1.3], {"density": 0.29}),
    "dare_linear": ("llama-gqa", ["lora", "rslora"], [0.7, 0.3], {"density": 1.0}),
    "dare_ties": ("llama-gqa", ["lora", "rslora"], [0.7, 0.3], {"density": 1.0, "majority_sign_method": "frequency"}),
}


def make(name, base, folders, weights, options):
    path = os.path.join(base, "combined", name)
    shutil.rmtree(path, ignore_errors=True)
    names = [f"a{i}" for i in range(len(folders))]
    sources = [os.path.join(base, "adapters", f) for f in folders]
    model = PeftModel.from_pretrained(load_base(base), sources[0], adapter_name=names[0])
    for own, source in zip(names[1:], sources[1:]):
        model.load_adapter(source, adapter_name=own)
    combine = name.split("-")[0]
    seed(path)  # cat leaves zeros with the signs of random values
    model.add_weighted_adapter(names, weights, "made", combination_type=combine, **options)
    model.save_pretrained(path, selected_adapters=["made"])
    os.remove(os.path.join(path, "README.md"))
    for file in os.listdir(os.path.join(path, "made")):
        os.rename(os.path.join(path, "made", file), os.path.join(path, file))
    os.rmdir(os.path.join(path, "made"))
    recipe = {"adapters": folders, "weights": weights, "combine": combine, **options}
    write_json(recipe, path, "combination.json")


def make_all(wanted=()):
    for name, (base, *case) in CASES.items():
        if not wanted or f"{base}/{name}" in wanted:
            make(name, base, *case)
