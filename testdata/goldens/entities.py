"""What transformers' TokenClassificationPipeline makes of given scores: python entities.py.

entities.json: texts for the tokenizer of sentences/tiny, the ids and scores of their tokens, and the entities, of each
token and aggregated.
"""

import json
import os
import zlib

import numpy as np
from transformers import AutoTokenizer
from transformers.pipelines.token_classification import AggregationStrategy, TokenClassificationPipeline

NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
TEXTS = [
    "A man is playing a flute.",
    "The  Dog runs, and THE MAN plays (in Paris)!",
    "Élan vital: naïve café, 中文 and more",
    "a",
    "flute flute flute",
]


class Config:
    id2label = dict(enumerate(NAMES))


class Model:
    config = Config()


def main():
    root = os.path.dirname(os.path.abspath(__file__))
    tokenizer = AutoTokenizer.from_pretrained(os.path.join(root, "sentences", "tiny"))
    pipeline = TokenClassificationPipeline.__new__(TokenClassificationPipeline)
    pipeline.tokenizer, pipeline.model, pipeline.framework = tokenizer, Model(), "np"
    cases = []
    for text in TEXTS:
        encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        rng = np.random.default_rng(zlib.crc32(text.encode()))
        scores = rng.normal(0, 3, (len(encoded["input_ids"]), len(NAMES))).astype(np.float32).round(3)
        for i in range(2, len(scores)):
            if i % 3:  # tokens that follow each other are often of a kind
                scores[i] = np.roll(scores[i - 1], 1 if scores[i - 1].argmax() in (1, 3) else 0)
        case = {"text": text, "ids": encoded["input_ids"], "scores": [[float(v) for v in row] for row in scores]}
        shifted = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
        probabilities = shifted / shifted.sum(-1, keepdims=True)
        for name in ("none", "simple"):
            strategy = AggregationStrategy(name)
            tokens = pipeline.gather_pre_entities(
                text, np.array(encoded["input_ids"]), probabilities, encoded["offset_mapping"], np.array(encoded["special_tokens_mask"]), strategy
            )
            found = pipeline.aggregate(tokens, strategy)
            case[name] = [
                {k: (float(v) if k == "score" else int(v) if k in ("index", "start", "end") else v) for k, v in e.items()}
                for e in found
                if e.get("entity") != "O" and e.get("entity_group") != "O"
            ]
        cases.append(case)
    with open(os.path.join(root, "entities.json"), "w") as f:
        json.dump({"names": NAMES, "cases": cases}, f, ensure_ascii=False, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
