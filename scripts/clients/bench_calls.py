import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from case import ADAPTER, BASE, MODEL, Client

TASK = """task: tiny
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_target: 0
doc_to_choice: ["\\u0020sea", "\\u0020sky"]
metric_list: [{metric: acc}]
"""

environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OPENAI_API_KEY": "any"}


def run(*command):
    r = subprocess.run([sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=600)
    assert r.returncode == 0, (r.stderr or r.stdout).strip().split("\n")[-1]


if "lm_eval" in sys.argv:
    harness = Client("lm_eval")

    @harness.call("local-completions: log-likelihoods of a task of our own")
    def _():
        with tempfile.TemporaryDirectory() as folder:
            rows = Path(folder, "rows.jsonl")
            rows.write_text("".join(json.dumps({"q": f"The ship {n} is on the"}) + "\n" for n in range(4)))
            Path(folder, "tiny.yaml").write_text(TASK % rows)
            arguments = f"model={MODEL},base_url={BASE}/v1/completions,tokenizer_backend=remote,tokenized_requests=False,num_concurrent=1,max_length=512"
            run("lm_eval", "--model", "local-completions", "--model_args", arguments, "--include_path", folder, "--tasks", "tiny", "--output_path", folder)


if "guidellm" in sys.argv:
    bench = Client("guidellm")

    @bench.call("benchmark of chats, streamed")
    def _():
        with tempfile.TemporaryDirectory() as folder:
            rows = Path(folder, "prompts.jsonl")
            rows.write_text("".join(json.dumps({"prompt": f"Where is ship {n}?"}) + "\n" for n in range(8)))
            run("guidellm", "benchmark", "run", "--target", BASE, "--model", ADAPTER, "--rate-type", "synchronous", "--max-requests", "3", "--data", str(rows), "--output-path", folder + "/out.json")
