"""Trains a classifier by PyTorch, transformers and PEFT on sequences that are given: python peer.py JOB.json.

Prints one JSON object: the scores of the rows to validate on, what was trained and the peak of memory of this process.
Dropout is off, as it is in peft-train; batches are padded to their longest text.
"""

import json
import resource
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

with open(sys.argv[1]) as f:
    job = json.load(f)
if job["threads"] > 0:
    torch.set_num_threads(job["threads"])
torch.manual_seed(job["seed"])
model = AutoModelForSequenceClassification.from_pretrained(
    job["base"], num_labels=job["classes"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, dtype=torch.float32
)
if job["method"] == "lora":
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules="all-linear"))
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=job["learning_rate"], weight_decay=0.0)
schedule = get_linear_schedule_with_warmup(optimizer, job["warmup_steps"], len(job["batches"]))


def scores(batch):
    longest = max(len(s["tokens"]) for s in batch)

    def padded(values):
        return torch.tensor([v + [0] * (longest - len(v)) for v in values])

    return model(
        input_ids=padded([s["tokens"] for s in batch]),
        token_type_ids=padded([s.get("types") or [0] * len(s["tokens"]) for s in batch]),
        attention_mask=padded([[1] * len(s["tokens"]) for s in batch]),
    ).logits


model.train()
for batch in job["batches"]:
    labels, got = torch.tensor([s["label"] for s in batch]), scores(batch)
    if job["classes"] == 1:
        loss = torch.nn.functional.mse_loss(got[:, 0], labels)
    else:
        loss = torch.nn.functional.cross_entropy(got, labels.long())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
model.eval()
rows, order = job["dev"], sorted(range(len(job["dev"])), key=lambda i: len(job["dev"][i]["tokens"]))
out = [None] * len(rows)
with torch.no_grad():
    for at in range(0, len(order), 32):
        part = order[at : at + 32]
        for i, row in zip(part, scores([rows[i] for i in part]).tolist()):
            out[i] = row
print(
    json.dumps(
        {
            "scores": out, "parameters": sum(p.numel() for p in trained), "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "threads": torch.get_num_threads(),
        }
    )
)
