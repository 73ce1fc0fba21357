"""Writes the golden files of models/safetensors with the reference library.

    pip install safetensors==0.8.0 torch==2.15.0 numpy==2.4.6
    python testdata/safetensors/goldens.py models/safetensors/testdata

types.safetensors holds a tensor of every type that torch can save, and names
that JSON must escape; sharded/ is a model in two files with its index.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

out = Path(sys.argv[1])
types = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
         torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64, torch.complex64,
         torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu]
tensors = {}
for dtype in types:
    name = str(dtype).removeprefix("torch.")
    tensors[name] = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.5, 4.0]]).to(dtype)
tensors |= {
    "scalar": torch.tensor(-2.5),
    "empty": torch.zeros(0, 7),
    'a "quoted" \\ <b> & é☕\n\t\b\f\x01\x7f\u2028': torch.tensor([1.0]),
}
save_file(tensors, out / "types.safetensors", {"format": "pt"})

folder = out / "sharded"
folder.mkdir(exist_ok=True)
shards = {
    "model-00001-of-00002.safetensors": {"b.weight": torch.arange(6.0).reshape(2, 3), "a.weight": torch.ones(2)},
    "model-00002-of-00002.safetensors": {"c.weight": torch.full((1, 2), 7.0, dtype=torch.bfloat16)},
}
for name, content in shards.items():
    save_file(content, folder / name, {"format": "pt"})
index = {"metadata": {"total_size": 36}, "weight_map": {t: s for s, c in shards.items() for t in c}}
(folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
