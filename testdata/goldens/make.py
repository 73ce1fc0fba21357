"""Make the golden files of this folder: python make.py [bases|peft|...] [name ...].

Without arguments everything but SmolLM2 is remade (that one needs a model
file: see smollm2.py). See ../README.md for what each file holds.
"""

import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

import bases
import oracle

torch.set_num_threads(1)
warnings.filterwarnings("ignore")


def main():
    os.chdir(oracle.ROOT)
    for base in bases.BASES:
        bases.make(base)


main()
