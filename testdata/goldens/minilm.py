"""What transformers makes of texts with all-MiniLM-L6-v2: python minilm.py FOLDER writes real/encoders/minilm.json.

The folder is the one that `make encoder` fetches. Of each text the file has the tokens and their types, the
beginning of the hidden states of the first and the last token, and that of the pooled row.
"""

import json
import os
import sys

import torch
from transformers import AutoModel, AutoTokenizer

# One text, or two that are a pair.
TEXTS = [
    ["A man is playing a flute."],
    ["The quick brown fox jumps over the lazy dog.", "A pair, with token types."],
    ["naïve CAFÉ 日本語 " * 20],
    ["word " * 400],
]
KEPT = 48


def main():
    torch.set_num_threads(1)
    model = AutoModel.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    texts = []
    for text in TEXTS:
        encoded = tokenizer(*text, return_tensors="pt")
        with torch.no_grad():
            out = model(**encoded)
        hidden = out.last_hidden_state[0]
        texts.append(
            dict(
                text=text,
                tokens=encoded["input_ids"][0].tolist(),
                types=encoded["token_type_ids"][0].tolist(),
                first=hidden[0, :KEPT].tolist(),
                last=hidden[-1, :KEPT].tolist(),
                pooled=out.pooler_output[0, :KEPT].tolist(),
            )
        )
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "real", "encoders")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "minilm.json"), "w") as f:
        json.dump(dict(folder="all-MiniLM-L6-v2", texts=texts), f)
        f.write("\n")


main()
