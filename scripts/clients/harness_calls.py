"""What measures: EleutherAI's harness, by the routes that it knows, and guidellm."""

import json
import math
import os
import subprocess
import sys
import tempfile

import httpx
from case import ADAPTER, BASE, MODEL, URL, Client
from lm_eval.api.instance import Instance
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

os.environ["OPENAI_API_KEY"] = "any"
harness = Client("lm-eval")
folder = tempfile.TemporaryDirectory()


def model(name=MODEL, **more):
    return LocalCompletionsAPI(base_url=URL + "/completions", model=name, tokenizer_backend="remote", max_length=512, num_concurrent=4, max_retries=1, **more)


def asks(kind, *arguments):
    return [Instance(request_type=kind, doc={}, arguments=a, idx=i) for i, a in enumerate(arguments)]


PAIRS = [("The ship lay in", " the harbour"), ("He said that he", " would not come"), ("It was a dark", " and stormy night"), ("She went to the", " window")]


@harness.call("local-completions, loglikelihood: as the log-probabilities of an echo are")
def _():
    made = model().loglikelihood(asks("loglikelihood", *PAIRS))
    for (context, rest), (likelihood, greedy) in zip(PAIRS, made):
        body = {"model": MODEL, "prompt": context + rest, "max_tokens": 0, "echo": True, "logprobs": 1}
        of = httpx.post(URL + "/completions", json=body).json()["choices"][0]["logprobs"]
        own = sum(p for p, at in zip(of["token_logprobs"], of["text_offset"]) if at >= len(context))
        assert math.isclose(likelihood, own, abs_tol=1e-4) and greedy in (True, False), (likelihood, own)


@harness.call("local-completions, generate_until, by an adapter")
def _():
    prompt = "Input: Please book a table for six at the Red Fox on Sunday at 8 pm.\nOutput:"
    made = model(ADAPTER).generate_until(asks("generate_until", (prompt, {"until": ["\n"], "max_gen_toks": 40, "temperature": 0})))
    body = {"model": ADAPTER, "prompt": prompt, "stop": ["\n"], "max_tokens": 40, "temperature": 0}
    assert made == [httpx.post(URL + "/completions", json=body).json()["choices"][0]["text"]], made


@harness.call("local-chat-completions, generate_until")
def _():
    chat = LocalChatCompletion(base_url=URL + "/chat/completions", model=MODEL, tokenizer_backend=None, num_concurrent=1, max_retries=1)
    messages = json.dumps([{"role": "user", "content": "Where is the ship?"}])
    from lm_eval.models.api_models import JsonChatStr

    assert chat.generate_until(asks("generate_until", (JsonChatStr(messages), {"until": [], "max_gen_toks": 8, "temperature": 0})))[0]


@harness.call("a task of multiple choice, whole")
def _():
    rows = [{"q": c, "choices": [r, " of of of"], "answer": 0} for c, r in PAIRS]
    with open(os.path.join(folder.name, "rows.json"), "w") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)
    task = {
        "task": "sea", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f.name}}, "test_split": "test", "output_type": "multiple_choice",
        "doc_to_text": "q", "doc_to_target": "answer", "doc_to_choice": "choices", "metric_list": [{"metric": "acc"}], "target_delimiter": "",
    }  # fmt: skip
    made = simple_evaluate(model=model(), tasks=[task], bootstrap_iters=0, log_samples=False)
    assert made["results"]["sea"]["acc,none"] >= 0.5, made["results"]


guide = Client("guidellm")


@guide.call("benchmark, chat and text completions, synchronous and at a rate")
def _():
    with open(os.path.join(folder.name, "prompts.json"), "w") as f:
        f.writelines(json.dumps({"prompt": c, "output_tokens_count": 8}) + "\n" for c, _ in PAIRS * 3)
    for kind, profile in (("/v1/chat/completions", "kind=synchronous"), ("/v1/completions", "kind=constant,rate=4")):
        path = os.path.join(folder.name, "report.json")
        command = [os.path.join(os.path.dirname(sys.executable), "guidellm"), "run", "--disable-console", "--profile", profile]
        command += ["--backend", f"kind=openai_http,target={BASE},model={MODEL},request_format={kind}", "--constraint", "kind=max_requests,count=8"]
        command += ["--data", f"kind=json_file,path={f.name}", "--output", f"kind=json,path={path}"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert run.returncode == 0, (run.stdout + run.stderr)[-300:]
        totals = json.load(open(path))["benchmarks"][0]["metrics"]["request_totals"]
        assert totals["successful"] >= 8 and totals["errored"] == 0, totals


folder.cleanup()
