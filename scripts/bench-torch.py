#!/usr/bin/env python3
"""The comparisons of docs/performance.md with PyTorch: encoders and training, this project
beside PyTorch with peft, in float32 and under bfloat16 autocast, ONNX Runtime and OpenVINO
on the same shapes and threads, turn by turn; medians.

    scripts/bench-torch.py PYTHON DIR [ROUNDS] [ROW ...]

PYTHON has torch, transformers and peft, for forward passes also onnx, onnxscript,
onnxruntime and openvino. DIR keeps the bases, of random weights. THREADS (2), STEPS of a
turn after one that is not counted (3), LENGTH of the decoders' four sequences (256), PEERS
(all: eager, sdpa, which is PyTorch's usual attention, bf16, onnx and openvino, as far as a
row has them), BIN (bin) and TOKENIZER, a folder with a tokenizer.json
(.base/all-MiniLM-L6-v2), may be set. Without bfloat16 in the processor bf16 is slow:
minutes a step.
Rows are named METHOD-BASE: see ROWS; all by default. lora is of rank 8 on query and value,
lora-all and dora-all on all linears. Ratios are medians of those of each round: of tokens
by the time of the processors, which other work on a machine changes less, and by the
clock; and of the largest resident sizes.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testdata", "peers", "torch_bench.py")
FORWARD = {"minilm": ("eager", "sdpa", "onnx", "openvino"), "mpnet": ("eager", "onnx", "openvino")}  # transformers has no other attention for MPNet
ROWS = [
    "forward-minilm", "forward-mpnet", "lora-minilm", "lora-mpnet",
    "lora-smollm2", "lora-all-smollm2", "dora-all-smollm2", "full-smollm2", "lisa-smollm2", "lora-qwen", "lora-all-qwen",
]  # fmt: skip
DECODERS = ("smollm2", "qwen")
TARGETS = {"minilm": "query+value", "mpnet": "q+v", "smollm2": "q_proj+v_proj", "qwen": "q_proj+v_proj"}
KNOWN = ("eager", "sdpa", "bf16", "onnx", "openvino")
ASKED = os.environ.get("PEERS", ",".join(KNOWN)).split(",")
THREADS, STEPS, LENGTH = (os.environ.get(key, otherwise) for key, otherwise in (("THREADS", "2"), ("STEPS", "3"), ("LENGTH", "256")))


def parse(row):
    if row not in ROWS:
        sys.exit(f"{row} is none of the rows: {', '.join(ROWS)}")
    what, base = row.rsplit("-", 1)
    return what, base, ("4", LENGTH) if base in DECODERS else ("32", "128")


def call(python, *args):
    """The last line that the script writes. Its threads do not spin while they wait, which would count as time of the processors."""
    done = subprocess.run([python, SCRIPT, *args], capture_output=True, text=True, env=os.environ | {"OMP_WAIT_POLICY": "passive"})
    if done.returncode:
        sys.exit(f"{SCRIPT} {' '.join(args)} failed: {done.stderr[-2000:]}")
    return done.stdout.strip().split("\n")[-1]


def write(python, folder, base, tokenizer, exported):
    path = os.path.join(folder, base)
    if exported and not os.path.exists(os.path.join(path, "model.onnx")):
        call(python, "export", base, path)
    if not os.path.exists(os.path.join(path, "tokenizer.json")):
        call(python, "write", base, path)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            if os.path.exists(os.path.join(tokenizer, name)):
                shutil.copy(os.path.join(tokenizer, name), path)
    return path


def ours(row, path, binaries):
    what, base, (batch, length) = parse(row)
    if what == "forward":
        command = [f"{binaries}/peft-serve", "bench", "--base", path, "--threads", THREADS, "--repetitions", STEPS, "--json"]
    else:
        method = {"lora": f"lora:{TARGETS[base]}", "lora-all": "lora:all-linear", "dora-all": "dora:all-linear"}.get(what, what)
        command = [f"{binaries}/peft-train", "bench", "--base", path, "--methods", method, "--threads", THREADS, "--steps", STEPS, "--json"]
        command += ["--batch-size", batch, "--max-length", length]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    r = json.loads(answer)
    r = r["speed"][0] if what == "forward" else r
    return r["tokens_per_processor_second"], r["tokens_per_second"], usage.ru_maxrss * 1024


def theirs(row, path, how, python):
    what, base, (batch, length) = parse(row)
    r = json.loads(call(python, what, base, path, how, "--threads", THREADS, "--steps", STEPS, "--batch", batch, "--length", length))
    return r["tokens_per_processor_second"], r["tokens_per_second"], r["resident_peak_bytes"]


def main():
    python, folder, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    rounds = int(rest.pop(0)) if rest and rest[0].isdigit() else 5
    binaries, tokenizer = os.environ.get("BIN", "bin"), os.environ.get("TOKENIZER", ".base/all-MiniLM-L6-v2")
    rows = rest or ROWS
    if unknown := set(ASKED) - set(KNOWN):
        sys.exit(f"PEERS: {', '.join(unknown)} is none of {', '.join(KNOWN)}")
    parsed = [parse(row) for row in rows]  # a wrong name is told before anything runs
    print(f"{THREADS} threads, median of {rounds}\n")
    print("| | tokens/s of a processor | by the clock | memory | ours, of a processor | by the clock | memory |\n|---|---|---|---|---|---|---|")
    for row, (what, base, _) in zip(rows, parsed):
        sides = {"ours": []} | {how: [] for how in (FORWARD[base] if what == "forward" else ("sdpa", "bf16")) if how in ASKED}
        path = write(python, folder, base, tokenizer, exported=not sides.keys().isdisjoint(("onnx", "openvino")))
        for round in range(rounds):
            for side in list(sides) if round % 2 == 0 else reversed(sides):
                sides[side].append(ours(row, path, binaries) if side == "ours" else theirs(row, path, side, python))
        for side, figures in sides.items():
            processors, clock, memory = (statistics.median(f) for f in zip(*figures))
            ratios = [statistics.median(a[i] / b[i] for a, b in zip(sides["ours"], figures)) for i in range(3)]
            text = " | | " if side == "ours" else f"{ratios[0]:.2f} × | {ratios[1]:.2f} × | {ratios[2]:.2f}"
            print(f"| {row}, {side} | {processors:.0f} | {clock:.0f} | {memory / 1e6:.0f} MB | {text} |", flush=True)


main()
