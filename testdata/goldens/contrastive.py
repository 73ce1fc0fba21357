"""What sentence-transformers' losses make of texts that are compared: python contrastive.py, after sentences.py.

sentences/contrastive.json: of sentences/tiny, and of it with other poolings and no more modules, the loss of a batch of rows and by tensor
two numbers: the norm of the gradient, and its product with the numbers of the tensor's name (README.md: SmolLM2). And what its
InformationRetrievalEvaluator makes of the rows.
"""

import json
import os

import torch
from fingerprints import fingerprint
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sentences")
TINY = os.path.join(OUT, "tiny")
ANCHORS = ["a man is playing the flute.", "the dog runs", "the flute : a dog"]
POSITIVES = ["playing the flute", "a dog runs.", "the dog is playing the flute ."]
NEGATIVES = [["the man runs", "a man", "is"], ["search the document.", "flute", "the dog is a man ."]]


def features(model, texts, prompt):
    made = model.preprocess([prompt + t for t in texts])
    if prompt:  # as encode counts them
        made["prompt_length"] = model.preprocess([prompt])["input_ids"].shape[-1] - 1
    return made


def case(model, modes, prompt, columns, scores):
    model.zero_grad()
    made = [features(model, texts, prompt) for texts in columns]
    labels = None if scores is None else torch.tensor(scores)
    loss = (MultipleNegativesRankingLoss if scores is None else CosineSimilarityLoss)(model)(made, labels)
    loss.backward()
    names = {"bert." + n.split("auto_model.")[-1].removeprefix("model."): p for n, p in model[0].named_parameters()}
    return dict(
        modes=modes, columns=columns, scores=scores, loss=float(f"{loss.item():.9g}"),
        tensors={n: fingerprint(n, p.grad) for n, p in names.items() if p.grad is not None},
    )


def retrieval(model):
    ids = [str(i) for i in range(len(ANCHORS))]
    documents = POSITIVES + NEGATIVES[0]
    measure = InformationRetrievalEvaluator(
        dict(zip(ids, ANCHORS)), {str(i): t for i, t in enumerate(documents)}, {i: {i} for i in ids}, write_csv=False, score_functions=None
    )
    scores = measure(model)
    return {k: next(v for name, v in scores.items() if name.endswith(k) and "cosine" in name or name.endswith("dot_" + k)) for k in ("accuracy@1", "mrr@10")}


torch.set_num_threads(1)
model = SentenceTransformer(TINY, device="cpu").eval()
three = [ANCHORS, POSITIVES, *NEGATIVES]
cases = [case(model, None, "document : ", c, s) for c, s in ((three[:2], None), (three[:3], None), (three, None), (three[:2], [0.9, -0.25, 0.5]))]
for modes in (["cls"], ["max"], ["mean"], ["mean_sqrt_len_tokens"], ["weightedmean"], ["lasttoken"], ["mean", "cls"]):
    plain = SentenceTransformer(modules=[Transformer(TINY), Pooling(12, pooling_mode=modes)], device="cpu").eval()
    cases.append(case(plain, modes, "", three[:3], None))
    found = retrieval(plain)
    cases[-1]["found"] = found
with open(os.path.join(OUT, "contrastive.json"), "w") as f:
    json.dump(cases, f, separators=(",", ":"))
    f.write("\n")
