"""What scikit-learn, scipy and seqeval make of labels, values and tags: writes goldens.json beside this file.

A measure that the library refuses, or calls NaN, is null.
"""

import json
import math
import os
import warnings

import numpy as np
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as entity_f1
from seqeval.metrics import precision_score as entity_precision
from seqeval.metrics import recall_score as entity_recall
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

warnings.simplefilter("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(15)


def known(f):
    try:
        v = float(f())
    except (TypeError, ValueError):
        return None
    return None if math.isnan(v) else v


def labels(name, right, chosen):
    binary = len(right) > 0 and set(right) | set(chosen) <= {0, 1}
    return {
        "name": name, "labels": [int(x) for x in right], "chosen": [int(x) for x in chosen],
        "accuracy": known(lambda: accuracy_score(right, chosen)),
        "f1": known(lambda: f1_score(right, chosen, zero_division=0)) if binary else None,
        "matthews": known(lambda: matthews_corrcoef(right, chosen)),
    }


def values(name, a, b):
    return {
        "name": name, "a": [float(x) for x in a], "b": [float(x) for x in b],
        "pearson": known(lambda: pearsonr(a, b).statistic), "spearman": known(lambda: spearmanr(a, b).statistic),
    }


def decisions(name, right, chosen):
    right, chosen = np.array(right), np.array(chosen)
    return {
        "name": name, "labels": right.astype(bool).tolist(), "chosen": chosen.astype(bool).tolist(),
        "accuracy": known(lambda: accuracy_score(right, chosen)),
        "f1": known(lambda: f1_score(right, chosen, average="micro", zero_division=0)),
    }


def entities(name, right, chosen):
    return {
        "name": name, "labels": right, "chosen": chosen, "precision": known(lambda: entity_precision(right, chosen, zero_division=0)),
        "recall": known(lambda: entity_recall(right, chosen, zero_division=0)), "f1": known(lambda: entity_f1(right, chosen, zero_division=0)),
    }


def noisy(right, classes, share):
    return np.where(rng.random(len(right)) < share, rng.integers(0, classes, len(right)), right)


def tags(lengths):
    return [[str(x) for x in rng.choice(["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG"], n)] for n in lengths]


two, five = rng.integers(0, 2, 40), rng.integers(0, 5, 40)
scored = np.round(rng.uniform(0, 5, 30), 1)
texts = tags([7, 1, 12, 5])
near = [[t if rng.random() < 0.7 else "O" for t in text] for text in texts]
out = {
    "labels": [
        labels("two classes", two, noisy(two, 2, 0.4)),
        labels("against the labels", two, 1 - two),
        labels("all right", two, two),
        labels("rare", [1] + [0] * 19, [0] * 18 + [1, 1]),
        labels("constant prediction 0", two, two * 0),
        labels("constant prediction 1", two, two * 0 + 1),
        labels("one class", [1] * 6, [1, 1, 0, 1, 1, 0]),
        labels("one class, chosen", [1] * 6, [1] * 6),
        labels("class 0 alone", [0] * 6, [0] * 6),
        labels("one example", [1], [0]),
        labels("five classes", five, noisy(five, 5, 0.5)),
        labels("a class that is never chosen", five, np.minimum(five, 3)),
        labels("a class that is none", [0, 1, 0, 1], [0, 1, 2, 2]),
        labels("nothing", [], []),
    ],
    "values": [
        values("with ties", scored, np.round(scored + rng.normal(0, 1, 30))),
        values("all right", scored, scored),
        values("the other way round", scored, -scored),
        values("monotonous", scored, np.exp(scored)),
        values("large offset", scored, scored * 1e-3 + 1e6),
        values("tiny", scored * 1e-200, noisy(scored * 10, 50, 0.3) * 1e-190),
        values("two", [1, 2], [5, 3]),
        values("constant", scored, scored * 0 + 0.1),
        values("both constant", [0.1] * 3, [0.7] * 3),
        values("one", [1], [2]),
        values("nothing", [], []),
        # scipy says NaN of what holds one, which JSON cannot: there the tests put it in.
    ],
    "decisions": [
        decisions("three labels", rng.integers(0, 2, (20, 3)), rng.integers(0, 2, (20, 3))),
        decisions("a label that is never right", [[1, 0], [1, 0], [0, 0]], [[1, 1], [0, 0], [0, 0]]),
        decisions("none chosen", [[1, 0], [0, 1]], [[0, 0], [0, 0]]),
    ],
    "entities": [
        entities("mixed", texts, near),
        entities("all right", texts, texts),
        entities("shifted ends", [["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]]),
        entities("another kind", [["B-PER", "I-PER", "O"]], [["B-LOC", "I-LOC", "O"]]),
        entities("begins at I", [["I-PER", "I-PER", "B-PER", "I-LOC"]], [["B-PER", "I-PER", "B-PER", "B-LOC"]]),
        entities("to the end of a text", [["O", "B-PER"], ["I-PER", "O"]], [["O", "B-PER"], ["B-PER", "O"]]),
        entities("none there", [["O", "O"]], [["B-PER", "O"]]),
        entities("none found", [["B-PER", "O"]], [["O", "O"]]),
        entities("none at all", [["O", "O"]], [["O", "O"]]),
        entities("nothing", [], []),
    ],
}
with open(os.path.join(HERE, "goldens.json"), "w") as f:
    json.dump(out, f, separators=(",", ":"))
    f.write("\n")
