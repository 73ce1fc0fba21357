"""Writes models/tokenizer/testdata/trained.json: what tokenizers' BpeTrainer
learns from small texts, among them such as have many pairs of one frequency,
runs of one character and pieces that come about in two ways.

    python testdata/tokenizer/trained.py

with tokenizers==0.22.2 on Python 3.11.
"""

import json
import pathlib
import random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/tokenizer/testdata/trained.json"

PROSE = """It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness,
it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness.\n\n
“Well!” thought Alice to herself, ‘after such a fall as this, I’ll think nothing of tumbling down stairs!’ In 1865, 42 of 1234 — naïve café.\r
\tÉtienne's {"name": "x", "n": [1, 22, 333]}  日本語 日本 🤷🏻‍♀️ don't they'll\u00a0we've <|end|>
"""
dice = random.Random(1)
RUNS = " ".join(c * dice.randint(1, 12) for c in "aaabbbccc" for _ in range(8))
TIES = " ".join("".join(dice.choice("abcd") for _ in range(dice.randint(1, 9))) for _ in range(200))

SETS = {
    "prose": ([PROSE], 330, ["<|end|>"], True),
    "numbers together": ([PROSE, "2001 2002 2001 12 12 12"], 340, ["<|end|>", "<pad>"], False),
    "runs": ([RUNS], 295, [], False),
    "ties": ([TIES], 420, ["<s>"], False),
    "a piece that is a special token": (["the then them the " * 3, TIES], 290, ["the", "<s>"], True),
}

goldens = {}
for name, (texts, vocabulary, special, digits) in SETS.items():
    t = Tokenizer(models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), words]) if digits else words
    t.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    model = json.loads(t.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    goldens[name] = {
        "texts": texts, "vocabulary": vocabulary, "special": special, "digits": digits,
        "pieces": pieces[len(special) + 256:], "merges": [" ".join(m) for m in model["merges"]],
    }
OUT.write_text(json.dumps(goldens, indent=1) + "\n")
