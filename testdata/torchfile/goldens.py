"""Writes the golden files of models/torchfile with torch.save.

    pip install torch==2.15.0 safetensors==0.8.0 numpy==2.4.6
    python testdata/torchfile/goldens.py models/torchfile/testdata

zip.bin and legacy.bin hold the same state dict in both containers, and
expected.safetensors what it must read as. legacy.bin lacks the types that the
old container cannot hold.
"""

import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

out = Path(sys.argv[1])
base = torch.arange(24.0).reshape(4, 6)

state = torch.nn.Linear(3, 2).state_dict()  # an OrderedDict with _metadata
state["weight"].copy_(torch.arange(6.0).reshape(2, 3))
state["bias"].copy_(torch.tensor([-1.0, 0.5]))
for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
              torch.uint8, torch.bool, torch.complex64):
    state[str(dtype).removeprefix("torch.")] = torch.tensor([0.0, 1.0, 2.0]).to(dtype)
state["shared"] = base
state["tied"] = base
state["transposed"] = base.t()
state["rows"] = base[1:3]
state["columns"] = base[:, 2:4]
state["every_second"] = base.flatten()[::2]
state["permuted"] = torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1)
state["scalar"] = torch.tensor(7.0)
state["empty"] = torch.zeros(0, 5)
state["expanded_by_one"] = torch.arange(3).expand(1, -1)
state["parameter"] = torch.nn.Parameter(torch.tensor([3.0]))
named = torch.nn.Parameter(torch.tensor([4.0]))
named.note = "an attribute"
state["with_attribute"] = named
state["nested"] = OrderedDict(inner={"x": torch.tensor([9])})

flat = {k: v for k, v in state.items() if k != "nested"} | {"nested.inner.x": state["nested"]["inner"]["x"]}
legacy = OrderedDict(state)
torch.save(legacy, out / "legacy.bin", _use_new_zipfile_serialization=False)
for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64):
    name = str(dtype).removeprefix("torch.")
    flat[name] = state[name] = torch.tensor([0.0, 1.0, 2.0]).to(dtype)
torch.save(state, out / "zip.bin")
save_file({k: v.detach().contiguous().clone() for k, v in flat.items()}, out / "expected.safetensors")
