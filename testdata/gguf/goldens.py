"""Writes the golden files of models/gguf with the reference implementation.

    pip install gguf==0.19.0 numpy==2.4.6
    python testdata/gguf/goldens.py models/gguf/testdata

goldens.gguf holds, for each stored form F, blocks `F.stored` and what they
decode to, `F.values`; where gguf-py can encode F, `F.source` is what was
encoded. Its metadata has a key of every type. big.gguf is an empty big-endian
file.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGUFEndian, GGUFWriter, GGUFValueType, GGMLQuantizationType as T, quants

out = Path(sys.argv[1])
rng = np.random.default_rng(20261123)


def half(x):
    return np.frombuffer(np.float16(x).tobytes(), np.uint8)


def metadata(w):
    w.add_string("a.string", "café ☕")
    w.add_bool("a.bool", True)
    for name, value in [("uint8", 255), ("int8", -128), ("uint16", 65535), ("int16", -32768), ("uint32", 2**32 - 1),
                        ("int32", -2**31), ("uint64", 2**64 - 1), ("int64", -2**63), ("float32", 0.1), ("float64", 0.1)]:
        getattr(w, "add_" + name)("a." + name, value)
    w.add_array("strings", ["", "b", "ccc"])
    w.add_array("ints", [3, -2, 1])
    w.add_array("floats", [0.5, -1.25])
    w.add_array("bools", [True, False, True])
    w.add_key_value("sizes", [1, 2**40], GGUFValueType.ARRAY, sub_type=GGUFValueType.UINT64)
    w.add_array("bytes", b"\x00\x7f\xff")


def source(n):
    x = rng.normal(size=n).astype(np.float32)
    x[:32] *= np.float32(1e-6)                       # a scale that is subnormal in f16
    x[32:64] = 0
    x[64] = -x[64:96].max() * 3                      # the extreme value is negative
    x[96:128] = np.round(x[96:128] * 4) / 4          # ties
    return x


def stored(t, blocks):
    """Random blocks whose scales are finite, one of them negative, one subnormal."""
    size = quants.GGML_QUANT_SIZES[t][1]
    b = rng.integers(0, 256, size=(blocks, size), dtype=np.uint8)
    at = {T.Q6_K: [208], T.Q4_K: [0, 2], T.Q5_K: [0, 2]}[t]
    for i, scales in enumerate(rng.normal(size=(blocks, len(at))) * 0.01):
        for offset, scale in zip(at, scales):
            b[i, offset:offset + 2] = half([-abs(scale), 3e-7, abs(scale)][i % 3])
    return b


w = GGUFWriter(out / "goldens.gguf", "golden")
metadata(w)
for t in (T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1):
    x = source(160).reshape(1, 160)
    b = quants.quantize(x, t)
    w.add_tensor(t.name + ".source", x)
    w.add_tensor(t.name + ".stored", b, raw_dtype=t)
    w.add_tensor(t.name + ".values", quants.dequantize(b, t))
for t in (T.Q4_K, T.Q5_K, T.Q6_K):
    b = stored(t, 3).reshape(1, -1)
    w.add_tensor(t.name + ".stored", b, raw_dtype=t)
    w.add_tensor(t.name + ".values", quants.dequantize(b, t))
w.add_tensor("IQ4_NL.stored", rng.integers(0, 256, size=(2, 18), dtype=np.uint8), raw_dtype=T.IQ4_NL)
w.add_tensor("cube", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()

w = GGUFWriter(out / "big.gguf", "golden", endianess=GGUFEndian.BIG)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_ti_data_to_file()
w.close()
