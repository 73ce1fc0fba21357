"""LoRA of the golden adapters as llama.cpp's own converter writes it.

python ggufadapters.py LLAMA_CPP: a checkout of the commit that scripts/goldens.sh
names. <base>/ggufadapters/<name>.gguf is convert_lora_to_gguf.py's of
<base>/adapters/<name>: read by the server, both answer with the same logits.
"""

import os
import runpy
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True

ROOT = Path(__file__).parent
CASES = [
    ("llama", "lora", "f32"),
    ("llama", "lora-lm-head", "f32"),
    ("llama-gqa", "lora-all-linear", "f32"),
    ("llama-gqa", "lora-patterns", "f32"),
    ("llama-gqa", "lora-f16", "f16"),
    ("llama-gqa", "lora-bf16", "bf16"),
    ("llama-gqa", "lora-embed", "f32"),
    ("llama-gqa", "alora", "f32"),
    ("llama-gqa", "lora", "q8_0"),
    ("mistral", "lora-all-linear", "f32"),
    ("qwen2", "lora", "f32"),
    ("phi3", "lora", "f32"),
    ("gemma3", "lora", "f32"),
]


def main():
    llama_cpp = sys.argv[1]
    sys.path[:0] = [llama_cpp, os.path.join(llama_cpp, "gguf-py")]
    for base, name, form in CASES:
        folder = ROOT / base / "ggufadapters"
        folder.mkdir(exist_ok=True)
        sys.argv = ["convert_lora_to_gguf.py", "--outtype", form, "--base", str(ROOT / base),
                    "--outfile", str(folder / f"{name}.gguf"), str(ROOT / base / "adapters" / name)]
        runpy.run_path(os.path.join(llama_cpp, "convert_lora_to_gguf.py"), run_name="__main__")


main()
