"""Make the golden files of this folder: python make.py [part ...] [base/adapter ...].

Without arguments everything is remade that needs no model file (see smollm2.py)
and no other program (see converted.py). See ../README.md for what each file
holds.
"""

import os
import sys
import warnings

if os.environ.get("PYTHONHASHSEED") != "0":
    # PEFT writes sets as lists in hash order.
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, *sys.argv])
os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True

import torch

import adapterhub
import adapterhub_heads
import aslora
import bases
import bitfit
import bottleneck
import classifying
import combined
import composed
import encoders
import heads
import keys
import lora
import oracle
import others
import resized
import training

PARTS = {
    "bases": bases.make_all,
    "keys": keys.make_all,
    "lora": lora.make_all,
    "others": others.make_all,
    "aslora": aslora.make_all,
    "resized": resized.make_all,
    "bitfit": bitfit.make_all,
    "bottleneck": bottleneck.make_all,
    "adapterhub": adapterhub.make_all,
    "combined": combined.make_all,
    "composed": composed.make_all,
    "training": training.make_all,
    "encoders": encoders.make_all,
    "heads": heads.make_all,
    "classifying": classifying.make_all,
    "adapterhub_heads": adapterhub_heads.make_all,
}


def main():
    os.chdir(oracle.ROOT)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    parts = [a for a in sys.argv[1:] if a in PARTS] or list(PARTS)
    cases = [a for a in sys.argv[1:] if a not in PARTS]
    for part in parts:
        PARTS[part](cases)


main()
