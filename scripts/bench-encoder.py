#!/usr/bin/env python3
"""The comparison of docs/performance.md: encoders and training, this project beside PyTorch
with peft, ONNX Runtime and OpenVINO on the same shapes and threads, turn by turn; medians.

    scripts/bench-encoder.py PYTHON DIR [ROUNDS] [ROW ...]

PYTHON has torch, transformers, peft, onnx, onnxscript, onnxruntime and openvino. DIR
keeps the bases, of random weights. THREADS (2), BIN (bin) and TOKENIZER, a folder with
a tokenizer.json (.base/all-MiniLM-L6-v2), may be set. Rows: forward-minilm,
forward-mpnet, lora-minilm, lora-mpnet, lora-smollm2, full-smollm2; all by default.
Ratios are of tokens by the time of the processors, which other work on a machine
changes less than the clock, and of the largest resident size.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testdata", "peers", "torch_encoder.py")
ROWS = {
    "forward-minilm": ("eager", "sdpa", "onnx", "openvino"),
    "forward-mpnet": ("eager", "onnx", "openvino"),  # transformers has no other attention for MPNet
    "lora-minilm": ("sdpa", "bf16"),
    "lora-mpnet": ("sdpa", "bf16"),
    "lora-smollm2": ("sdpa", "bf16"),
    "full-smollm2": ("sdpa", "bf16"),
}
TARGETS = {"minilm": "query+value", "mpnet": "q+v", "smollm2": "q_proj+v_proj"}


def write(python, folder, base, tokenizer):
    path = os.path.join(folder, base)
    if not os.path.exists(os.path.join(path, "tokenizer.json")):
        subprocess.run([python, PEERS, "write", base, path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            if os.path.exists(os.path.join(tokenizer, name)):
                shutil.copy(os.path.join(tokenizer, name), path)
    return path


def ours(row, path, threads, binaries):
    what, base = row.split("-")
    if what == "forward":
        command = [f"{binaries}/peft-serve", "bench", "--base", path, "--threads", threads, "--json"]
    else:
        method = f"lora:{TARGETS[base]}" if what == "lora" else what
        size = ["--batch-size", "4", "--max-length", "256"] if base == "smollm2" else ["--batch-size", "32", "--max-length", "128"]
        command = [f"{binaries}/peft-train", "bench", "--base", path, "--methods", method, "--threads", threads, "--json", *size]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    answer = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command}: {status}")
    r = answer["speed"][0] if what == "forward" else answer
    return r["tokens_per_second"], r["tokens_per_processor_second"], usage.ru_maxrss * 1024


def theirs(row, path, threads, how, python):
    what, base = row.split("-")
    size = ["--batch", "4", "--length", "256"] if base == "smollm2" else []
    # Threads that wait do not spin, which would count as time of the processors.
    done = subprocess.run(
        [python, PEERS, what, base, path, how, "--threads", threads, *size], check=True, capture_output=True, text=True,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
    )  # fmt: skip
    r = json.loads(done.stdout.strip().splitlines()[-1])
    return r["tokens_per_second"], r["tokens_per_processor_second"], r["resident_peak_bytes"]


def main():
    python, folder, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    rounds = int(rest.pop(0)) if rest and rest[0].isdigit() else 5
    threads, binaries = os.environ.get("THREADS", "2"), os.environ.get("BIN", "bin")
    tokenizer = os.environ.get("TOKENIZER", ".base/all-MiniLM-L6-v2")
    print("| | tokens/s of a processor | by the clock | memory | ours, speed | ours, memory |\n|---|---|---|---|---|---|")
    for row in rest or ROWS:
        path = write(python, folder, row.split("-")[1], tokenizer)
        sides = {"ours": []} | {how: [] for how in ROWS[row]}
        for _ in range(rounds):
            for side, figures in sides.items():
                figures.append(ours(row, path, threads, binaries) if side == "ours" else theirs(row, path, threads, side, python))
        medians = {side: [statistics.median(f) for f in zip(*figures)] for side, figures in sides.items()}
        for side, (clock, processors, memory) in medians.items():
            speed = statistics.median(a[1] / b[1] for a, b in zip(sides["ours"], sides[side]))
            share = medians["ours"][2] / memory
            ratios = "" if side == "ours" else f"{speed:.2f} × | {share:.2f}"
            print(f"| {row}, {side} | {processors:.0f} | {clock:.0f} | {memory / 1e6:.0f} MB | {ratios or '|'} |", flush=True)


main()
