"""Writes models/tokenizer/testdata/smollm2-gguf.json: the tokenizer.json that
transformers makes from SmolLM2's GGUF file, without vocabulary and merges, and
what it does.

    python testdata/tokenizer/from_gguf.py .base/SmolLM2-135M-Instruct.Q4_1.gguf

with tokenizers==0.22.2, transformers==4.57.6 and gguf==0.19.0 on Python 3.11.
"""

import json
import pathlib
import random
import sys

from transformers import AutoTokenizer

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/tokenizer/testdata/smollm2-gguf.json"

TEXTS = [
    "", " ", "Hello, y'all! It's 12345 o'clock.", "\n\n x\r\n\ty  ", "naïve CAFÉ Å İ ẞ", "日本語のテキスト。中文！ 한국어", "▁under ▁▁ a\u00a0b\u2003c",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>", "<0x41> <0x0A>", "x\u0000y\u0001z\u007f\u0085\ufffd", "🤷🏻‍♀️ 😁", "def f(x):\n    return x**2  # ok\n",
    "<repo_name> a <file_sep>b", "a" * 60,
]


def main():
    gguf = pathlib.Path(sys.argv[1])
    fast = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    t = fast.backend_tokenizer
    f = json.loads(t.to_str())
    del f["model"]["vocab"], f["model"]["merges"]
    rng = random.Random(3)
    decodes = [[rng.randrange(t.get_vocab_size()) for _ in range(12)] for _ in range(20)]
    out = {
        "file": f, "texts": TEXTS,
        "ids": [t.encode(x, add_special_tokens=False).ids for x in TEXTS],
        "special": [t.encode(x).ids for x in TEXTS],
        "decoded": [t.decode(t.encode(x).ids, skip_special_tokens=False) for x in TEXTS],
        "decodes": [{"ids": ids, "text": t.decode(ids, skip_special_tokens=False)} for ids in decodes],
    }
    OUT.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


main()
