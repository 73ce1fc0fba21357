"""What peft and transformers make of mutants that are served.

go run ./scripts/hold hostile -n 5000 -sample SAMPLE -most 60
python hostile.py SAMPLE

For each folder of the sample: does peft (transformers, for bases) read it, does
it read all of it, and are its log-probabilities ours? Prints what differs, and a
table. Families that are ours alone, bottlenecks and BitFit, are left out.
"""

import collections
import copy
import functools
import json
import logging
import os
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

# The largest difference of a log-probability, as a part of those that are large:
# float32 in another order. Where float32 itself is at its limits, as with
# weights of 1e30 in the norms of DoRA, float64 decides: we may not be further off
# than peft by more than another order of the same sums.
TOLERANCE = 1e-4
OURS = ("BITFIT", "BOTTLENECK")
ROWS = {"resized-fewer": 90}


@functools.cache
def base_model(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def load_adapter(base, name, folder):
    model = copy.deepcopy(base_model(base))
    if "resized" in name:
        model.resize_token_embeddings(ROWS.get(name.split("/")[1], 103), mean_resizing=False)
    return PeftModel.from_pretrained(model, folder).eval()


def load_base(folder):
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    wrong = {k: sorted(map(str, v)) for k, v in report.items() if v}
    return model.eval(), [f"{wrong}"] if wrong else []


@torch.no_grad()
def logprobs(model, tokens):
    logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -len(tokens) :]
    return torch.log_softmax(logits.double(), -1)[:-1].gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()


def apart(ours, theirs):
    """The largest difference, as a part of what is large."""
    return max((abs(a - b) / max(1, abs(b) / 100) for a, b in zip(ours, theirs, strict=True)), default=0)


def compare(folder, case):
    """A verdict in one word, and what there is to say."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if case["adapter"]:
                model, more = load_adapter(case["base"], case["seed"], folder), []
            else:
                model, more = load_base(folder)
            theirs = logprobs(model, case["tokens"])
        except Exception as e:
            return "refused", f"{type(e).__name__}: {str(e)[:300]}"
    texts = more + [str(w.message)[:300] for w in caught if "missing" in str(w.message).lower() or "unexpected" in str(w.message).lower()]
    off = apart(case["logprobs"], theirs)
    if not off <= TOLERANCE:
        exact = logprobs(model.double(), case["tokens"])
        ours, peers = apart(case["logprobs"], exact), apart(theirs, exact)
        if not ours <= max(TOLERANCE, 2 * peers):
            return "differs", f"off by {off:.2g}, from float64 by {ours:.2g} {texts}"
        return "agrees in float64", f"off by {ours:.2g}, peft in float32 by {peers:.2g}"
    return ("agrees, with a warning", f"{texts}") if texts else ("agrees", "")


def is_ours(folder):
    try:
        with open(os.path.join(folder, "adapter_config.json")) as f:
            return json.load(f).get("peft_type") in OURS
    except (OSError, ValueError):
        return False


def main():
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    sample, table = sys.argv[1], collections.defaultdict(collections.Counter)
    for name in sorted(f for f in os.listdir(sample) if f.endswith(".json")):
        with open(os.path.join(sample, name)) as f:
            case = json.load(f)
        folder = os.path.join(sample, name.removesuffix(".json"))
        if is_ours(folder):
            continue
        verdict, why = compare(folder, case)
        table["adapters" if case["adapter"] else "bases"][verdict] += 1
        if verdict != "agrees":
            print(f"{name}: {verdict}: {case['seed']}: {case['mutations']}: {why}", flush=True)
    for kind, counts in table.items():
        print(f"{kind}: " + ", ".join(f"{n} {v}" for v, n in counts.most_common()))
    sys.exit(sum(counts["differs"] for counts in table.values()) > 0)


main()
