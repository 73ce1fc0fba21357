"""Two numbers for a tensor: its norm, and its product with the numbers of its name."""

import numpy
import torch


def numbers(name, n):
    """The numbers that README.md gives a name, with bound 1."""
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(h) + numpy.arange(1, n + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
    return torch.from_numpy((z >> numpy.uint64(40)).astype(numpy.float64) / 2**23 - 1)


def fingerprint(name, values):
    v = values.detach().double().flatten()
    return [float(f"{x:.8g}") for x in (v.norm(), numbers(name, len(v)) @ v)]
