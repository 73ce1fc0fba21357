"""Folders that peft-train saves, read by peft with every warning an error, and its logits beside peft-serve's.

python peft_loads.py [path/to/bin] [case ...]

Trains each method for a few steps on golden bases, so that nothing is a no-op.
A folder passes when peft (transformers, for whole models) reads it without a
warning, holds exactly its tensors, and computes the log-probabilities that
peft-serve answers with. A few configurations make peft warn whoever saved the
folder, as those that touch tied embeddings do: there, one of the same
configuration that peft makes itself has to raise the same warnings.
"""

import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

GOLDENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "goldens")
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .,:?!\n'\"()-RST"
# The largest difference of a log-probability: float32 in another order.
TOLERANCE = 2e-5
STEPS = "--max-steps 8 --lr 0.05 --batch-size 4 --warmup-steps 0 --seed 3 --threads 1 --samples 0".split()

SHARED = {
    "lora": "--method lora",
    "rslora": "--method rslora --r 4",
    "loraplus": "--method lora+ --lr 0.01",
    "dora": "--method dora",
    "dora-all": "--method dora --target-modules all-linear --r 2",
    "gaussian": "--method lora --init-lora-weights gaussian",
    "pissa": "--method lora --init-lora-weights pissa --r 4",
    "pissa-rslora": "--method rslora --init-lora-weights pissa --r 4",
    "olora": "--method lora --init-lora-weights olora --r 4",
    "pissa-dora": "--method dora --init-lora-weights pissa --r 4",
    "all-linear": "--method lora --target-modules all-linear",
    "ia3": "--method ia3 --lr 0.2",
    "prefix": "--method prefix --num-virtual-tokens 5",
    "prompt": "--method prompt --num-virtual-tokens 5 --lr 0.5",
}
LLAMA = SHARED | {
    "regex": "--method lora --target-modules .*layers\\.[02]\\..*(q_proj|down_proj)",
    "dora-regex": "--method dora --target-modules .*layers\\.1\\..*_proj",
    "ia3-regex": "--method ia3 --target-modules .*\\.(k_proj|v_proj)",
    "exclude": "--method lora --target-modules q_proj,k_proj --exclude-modules layers.1.self_attn.q_proj",
    "layers": "--method lora --layers-to-transform 1",
    "patterns": "--method lora --rank-pattern q_proj=3 --alpha-pattern v_proj=5",
    "pissa-patterns": "--method lora --init-lora-weights pissa --r 4 --rank-pattern q_proj=6 --alpha-pattern v_proj=12",
    "save-norms": "--method lora --modules-to-save input_layernorm,model.norm",
    "save-head": "--method lora --modules-to-save lm_head",
    "save-embed": "--method lora --modules-to-save embed_tokens",
    "save-both": "--method dora --modules-to-save embed_tokens,lm_head",
    "ia3-save": "--method ia3 --modules-to-save lm_head",
    "prefix-save": "--method prefix --num-virtual-tokens 5 --modules-to-save embed_tokens,model.norm",
    "prompt-save": "--method prompt --num-virtual-tokens 5 --modules-to-save lm_head",
    "embed": "--method lora --target-modules embed_tokens,q_proj",
    "head": "--method lora --target-modules lm_head,q_proj",
    "beft": "--method bitfit --zero-biases",
    "full": "--method full --lr 0.01",
    "lisa": "--method lisa --lisa-layers 1 --lisa-interval 3 --lr 0.01",
}
BIASES = {"bias-all": "--method lora --bias all", "bias-lora-only": "--method lora --bias lora_only"}
CASES = {
    "llama-gqa": LLAMA,
    "llama": LLAMA,
    "qwen2": SHARED | BIASES | {"dora-bias-all": "--method dora --bias all", "save-proj": "--method lora --modules-to-save k_proj"},
    "qwen3": SHARED,
    "mistral": SHARED,
    "gpt2": SHARED
    | BIASES
    | {
        "regex": "--method lora --target-modules .*h\\.[02]\\..*c_(attn|proj)",
        "save-norms": "--method lora --modules-to-save ln_1,ln_f",
        "save-conv": "--method lora --modules-to-save mlp.c_fc",
        "save-head": "--method lora --modules-to-save lm_head",
        "embed": "--method lora --target-modules wte,wpe,c_attn",
        "full": "--method full --lr 0.01",
    },
}
WHOLE = ("full", "lisa")


class Logged(logging.Handler):
    """What is logged as a warning is one."""

    def emit(self, record):
        warnings.warn(record.getMessage(), stacklevel=2)


def warned(f, *args):
    """What f returns, and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = f(*args)
    return result, {str(w.message) for w in caught}


def make_base(name, root):
    """A golden base with a tokenizer of single characters, for which it is trained."""
    path = os.path.join(root, name, "base")
    shutil.copytree(os.path.join(GOLDENS, name), path, ignore=shutil.ignore_patterns("adapters", "adapterhub", "llamacpp", "golden*"))
    vocabulary = {"<s>": 0, "</s>": 1} | {c: i + 2 for i, c in enumerate(CHARACTERS)}
    flags = dict(special=True, single_word=False, lstrip=False, rstrip=False, normalized=False)
    tokenizer = {
        "added_tokens": [{"id": vocabulary[s], "content": s, **flags} for s in ("<s>", "</s>")],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "</s>"},
    }
    with open(os.path.join(path, "tokenizer.json"), "w") as f:
        json.dump(tokenizer, f)
    return path


def make_text(root):
    path = os.path.join(root, "train.jsonl")
    with open(path, "w") as f:
        for i in range(32):
            f.write(json.dumps({"prompt": f"what is {i}?", "completion": "it is " + "x" * (i % 5 + 1)}) + "\n")
    return path


def train(binary, base, data, flags, output):
    # A later flag wins.
    command = [os.path.join(binary, "peft-train"), "run", "--base", base, "--data", data, "--output", output, *STEPS, *flags.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())


@contextlib.contextmanager
def serving(binary, base, adapters=None):
    """The address of a peft-serve."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [os.path.join(binary, "peft-serve"), "--base", base, "--addr", f"127.0.0.1:{port}", "--threads", "1", "--kv-cache", "16MiB"]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command + (["--adapters", adapters] if adapters else []), stdout=log, stderr=log)
        try:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(address + "/ready")
                    break
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            server.wait()


def served(address, model, tokens):
    """peft-serve's log-probabilities of tokens[1:]."""
    body = {"prompt": tokens, "max_tokens": 1, "echo": True, "logprobs": 1} | ({"model": model} if model else {})
    request = urllib.request.Request(address + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["choices"][0]["logprobs"]["token_logprobs"][1 : len(tokens)]
    except urllib.error.HTTPError as e:
        raise RuntimeError(e.read().decode()) from e


@torch.no_grad()
def computed(model, tokens):
    logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -len(tokens) :]
    return torch.log_softmax(logits.double(), -1)[:-1].gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()


def load_base(path):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    model.config.use_cache = False
    return model


def load_whole(folder):
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    wrong = {k: v for k, v in report.items() if v}
    if wrong:
        raise RuntimeError(f"{wrong}")
    return model.eval()


def load_adapter(base, folder):
    model = PeftModel.from_pretrained(load_base(base), folder).eval()
    saved = load_file(os.path.join(folder, "adapter_model.safetensors"))
    # Whole embeddings beside a delta are optional.
    whole = any(name.endswith("base_layer.weight") for name in saved)
    state = get_peft_model_state_dict(model, save_embedding_layers=whole)
    if saved.keys() != state.keys():
        raise RuntimeError(f"tensors: peft has {sorted(state.keys() - saved.keys())} more, the file {sorted(saved.keys() - state.keys())}")
    for name, value in saved.items():
        if not torch.equal(value, state[name]):
            raise RuntimeError(f"{name}: peft has other values")
    return model


def peft_own(base, folder):
    """A folder of the same configuration, made and read by peft alone."""
    config = PeftConfig.from_pretrained(folder)
    config.inference_mode = False
    with tempfile.TemporaryDirectory() as own:
        get_peft_model(load_base(base), config).save_pretrained(own)
        return warned(load_adapter, base, own)[1]


def load(base, folder, whole):
    """The model, and the warnings that peft raises on a folder of its own too."""
    model, texts = warned(load_whole, folder) if whole else warned(load_adapter, base, folder)
    if texts:
        own = set() if whole else warned(peft_own, base, folder)[0]
        if texts - own:
            raise RuntimeError(f"warning: {sorted(texts - own)}")
    return model, texts


def apart(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def check(address, base, folder, name):
    tokens = [2 + (7 * i * i + 3 * i) % 50 for i in range(24)]
    model, texts = load(base, folder, name in WHOLE)
    got, want = served(address, None if name in WHOLE else name, tokens), computed(model, tokens)
    effect = apart(want, computed(load_base(base).eval(), tokens))
    off = apart(got, want)
    if not off < TOLERANCE:
        raise RuntimeError(f"a log-probability is off by {off:.2g} (the adapter moves one by {effect:.2g})")
    if not effect > 1e-2:
        raise RuntimeError(f"the adapter moves log-probabilities by {effect:.2g} only")
    return off, effect, texts


def main():
    torch.set_num_threads(1)
    binary = sys.argv[1] if len(sys.argv) > 1 else "bin"
    wanted = sys.argv[2:]
    for name in ("peft", "transformers"):
        logging.getLogger(name).handlers[:] = [Logged(logging.WARNING)]
    failed = passed = 0
    with tempfile.TemporaryDirectory() as root:
        data = make_text(root)
        for base_name, cases in CASES.items():
            cases = {k: v for k, v in cases.items() if not wanted or k in wanted or f"{base_name}/{k}" in wanted}
            base, adapters = make_base(base_name, root), os.path.join(root, base_name, "adapters")
            os.makedirs(adapters)
            for name, flags in cases.items():
                folder = os.path.join(root, base_name, name) if name in WHOLE else os.path.join(adapters, name)
                try:
                    train(binary, base, data, flags, folder)
                    with serving(binary, folder) if name in WHOLE else serving(binary, base, adapters) as address:
                        off, effect, texts = check(address, base, folder, name)
                    passed += 1
                    print(f"{base_name}/{name}: log-probabilities within {off:.1e}, moved by {effect:.1e}", flush=True)
                    for text in sorted(texts):
                        print(f"  and peft warns of its own folder too: {text}", flush=True)
                except Exception as e:
                    failed += 1
                    print(f"{base_name}/{name}: FAILED: {type(e).__name__}: {str(e)[:600]}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
