"""LiteLLM's proxy in front of the server, and OpenAI's client through it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import httpx
import openai
from case import ADAPTER, FUNCTION, MODEL, PROMPT, SCHEMA, TOOLS, URL, Client, valid

proxy = Client("litellm")
names = (MODEL, ADAPTER, TOOLS)
folder = tempfile.mkdtemp()
models = [{"model_name": n, "litellm_params": {"model": f"openai/{n}", "api_base": URL, "api_key": "any"}} for n in names]
models.append({"model_name": "text", "litellm_params": {"model": f"text-completion-openai/{ADAPTER}", "api_base": URL, "api_key": "any"}})
models.append({"model_name": "vllm", "litellm_params": {"model": f"hosted_vllm/{MODEL}", "api_base": URL, "api_key": "any"}})
with open(os.path.join(folder, "config.yaml"), "w") as f:
    json.dump({"model_list": models, "litellm_settings": {"num_retries": 0}}, f)  # YAML has JSON in it
with socket.socket() as s:  # a port that nobody has
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
log = open(os.path.join(folder, "log"), "w")
command = [os.path.join(os.path.dirname(sys.executable), "litellm"), "--config", f.name, "--host", "127.0.0.1", "--port", str(port)]
key = "sk-" + secrets.token_hex(32)  # without one it does not start
running = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"LITELLM_MASTER_KEY": key})
address = f"http://127.0.0.1:{port}"
asked = [{"role": "user", "content": "Where is the ship?"}]
api = openai.OpenAI(base_url=address + "/v1", api_key=key, max_retries=0, timeout=120)


@proxy.call("the proxy: models")
def _():
    for _ in range(600):
        try:
            if httpx.get(address + "/health/liveliness").status_code == 200:
                break
        except httpx.HTTPError:
            assert running.poll() is None, " ".join(open(log.name).read()[-250:].split())
        time.sleep(0.5)
    assert set(names) <= {m.id for m in api.models.list()}


@proxy.call("the proxy: chat, whole and streamed are the same")
def _():
    for model in (MODEL, "vllm"):
        ask = dict(model=model, messages=asked, max_tokens=8, temperature=0)
        whole = api.chat.completions.create(**ask).choices[0].message.content
        assert whole and whole == "".join(c.choices[0].delta.content or "" for c in api.chat.completions.create(**ask, stream=True) if c.choices)


@proxy.call("the proxy: text completions by an adapter")
def _():
    assert api.completions.create(model="text", prompt=PROMPT, max_tokens=8).choices[0].text


@proxy.call("the proxy: a schema, a tool that is required")
def _():
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    valid(api.chat.completions.create(model=MODEL, messages=asked, response_format=form, max_tokens=200).choices[0].message.content)
    tool = {"type": "function", "function": FUNCTION}
    r = api.chat.completions.create(model=TOOLS, messages=asked, tools=[tool], tool_choice="required", max_tokens=200)
    valid(r.choices[0].message.tool_calls[0].function.arguments)


@proxy.call("the proxy: responses, whole and streamed")
def _():
    assert api.responses.create(model=MODEL, input="Where is the ship?", max_output_tokens=16).output
    kinds = [e.type for e in api.responses.create(model=MODEL, input="Where is the ship?", max_output_tokens=16, stream=True)]
    assert kinds[-1] in ("response.completed", "response.incomplete"), kinds[-1]


@proxy.call("the proxy: embeddings")
def _():
    assert len(api.embeddings.create(model=MODEL, input=["a", "b"]).data) == 2


@proxy.call("the proxy: a prompt that is too long is a 400")
def _():
    try:
        api.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "sea " * 2000}])
    except openai.BadRequestError as e:
        assert "maximum context length" in str(e), e
    else:
        raise AssertionError("it is not refused")


running.terminate()
running.wait()
shutil.rmtree(folder)
