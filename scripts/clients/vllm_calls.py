"""What vLLM's own tests of its server ask (Apache-2.0; none of their code is here), in
our words: each function is named by the id of the test whose requests it makes, and
fails where the answer is not what that test wants of any model. What such a test asks of
a model's wit, a right sum say, is left out. docs/vllm-tests.md lists them."""

import concurrent.futures
import json
import os
import re
import tempfile
import traceback

import httpx
import openai
from case import ADAPTER, BASE, FUNCTION, MODEL, PROMPT, SCHEMA, TOOLS, URL, valid

api = openai.OpenAI(base_url=URL, api_key="any", max_retries=0)
folder = os.environ["ADAPTER_FOLDER"]  # of an adapter, where the server may read
asked = [{"role": "system", "content": "you are a helpful assistant"}, {"role": "user", "content": "what is 1+1?"}]
tool = {"type": "function", "function": FUNCTION}
other = {"type": "function", "function": {"name": "rest", "parameters": {"type": "object", "properties": {}}}}
named = {"type": "function", "function": {"name": FUNCTION["name"]}}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADDRESS = r"((25[0-5]|(2[0-4]|1\d|[1-9]|)\d)\.){3}(25[0-5]|(2[0-4]|1\d|[1-9]|)\d)"
WRONG_SCHEMA = {"type": "object", "properties": {"brand": {"type": "string"}, "foo": "bar"}, "required": ["brand"]}
ids = []


def test(*of):
    """Runs the function at once, for each of these ids of tests."""

    def run(function):
        fault = None
        try:
            function()
        except BaseException as e:  # noqa: BLE001
            if os.environ.get("VERBOSE"):
                traceback.print_exc()
            fault = f"{type(e).__name__}: {e}".split("\n")[0][:300]
        for one in of:
            assert one not in ids, one
            ids.append(one)
            print(json.dumps({"client": "vLLM's tests", "call": one, "fault": fault}), flush=True)

    return run


def refused(call, *says, by=openai.BadRequestError):
    """The call is refused, with all that in its message."""
    try:
        call()
    except by as e:
        for text in says:
            assert text in str(e), f"{text!r} is not in {e}"
        return
    raise AssertionError("it is not refused")


def complete(prompt="Hello, my name is", model=MODEL, **fields):
    own = {k: fields.pop(k) for k in list(fields) if k not in ("max_tokens", "temperature", "logprobs", "n", "seed", "stream", "stream_options", "echo", "logit_bias", "stop")}
    return api.completions.create(model=model, prompt=prompt, extra_body=own, **({"max_tokens": 5, "temperature": 0} | fields))


def chat(messages=asked, model=MODEL, **fields):
    own = {k: fields.pop(k) for k in list(fields) if k in EXTRA}
    return api.chat.completions.create(model=model, messages=messages, extra_body=own, **({"max_completion_tokens": 5} | fields))


EXTRA = (
    "prompt_logprobs", "structured_outputs", "min_tokens", "echo", "continue_final_message", "add_generation_prompt", "return_token_ids",
    "truncate_prompt_tokens", "truncation_side", "stop_token_ids", "chat_template_kwargs",
)  # fmt: skip


def load(name, path, **more):
    return httpx.post(URL + "/load_lora_adapter", json={"lora_name": name, "lora_path": path, **more}, timeout=60)


def unload(name):
    return httpx.post(URL + "/unload_lora_adapter", json={"lora_name": name}, timeout=60)


def size():
    """Of the vocabulary: the error of a token beyond it tells."""
    try:
        chat(logit_bias={"99999999": 1})
    except openai.BadRequestError as e:
        return int(re.findall(r"\d+", str(e).replace("99999999", "").replace("400", ""))[-1])


def same_calls(ask):
    """One call, or as many as the model makes, which it may make until its answer is cut."""
    whole = chat(**ask).choices[0]
    assert whole.message.role == "assistant" and whole.finish_reason in ("tool_calls", "length")
    assert whole.finish_reason == "tool_calls" or ask["parallel_tool_calls"], whole
    assert whole.message.tool_calls and all(c.type == "function" and len(c.id) > 16 for c in whole.message.tool_calls)
    calls, roles, ends = {}, [], []
    for chunk in chat(**ask, stream=True):
        choice = chunk.choices[0]
        assert choice.index == 0
        roles += [choice.delta.role] if choice.delta.role else []
        ends += [choice.finish_reason] if choice.finish_reason else []
        for call in choice.delta.tool_calls or []:
            of = calls.setdefault(call.index, {"ids": [], "names": [], "arguments": ""})
            of["ids"] += [call.id] if call.id else []
            of["names"] += [call.function.name] if call.function and call.function.name else []
            of["arguments"] += call.function.arguments or "" if call.function else ""
    assert roles == ["assistant"] and ends == [whole.finish_reason] and len(calls) == len(whole.message.tool_calls)
    for i, call in enumerate(whole.message.tool_calls):
        assert len(calls[i]["ids"]) == 1 and calls[i]["names"] == [call.function.name]
        assert json.loads(calls[i]["arguments"]) == json.loads(call.function.arguments)


# completions


@test("completion/test_completion.py::test_single_completion")
def _():
    r = complete()
    choice = r.choices[0]
    assert r.id and len(r.choices) == 1 and len(choice.text) >= 5 and choice.finish_reason == "length"
    assert r.usage.completion_tokens == 5 and r.usage.total_tokens == r.usage.prompt_tokens + 5
    assert r.usage.prompt_tokens_details.cached_tokens == 0
    choice = complete([0, 0, 0, 0, 0]).choices[0]
    assert choice.text and not hasattr(choice, "prompt_logprobs")


@test("completion/test_completion.py::test_no_logprobs")
def _():
    assert complete([0, 0, 0, 0, 0], logprobs=None).choices[0].logprobs is None


@test("completion/test_completion.py::test_zero_logprobs")
def _():
    logprobs = complete([0, 0, 0, 0, 0], logprobs=0).choices[0].logprobs
    assert logprobs.token_logprobs and len(logprobs.top_logprobs[0]) == 1


@test("completion/test_completion.py::test_some_logprobs")
def _():
    assert 5 <= len(complete([0, 0, 0, 0, 0], logprobs=5).choices[0].logprobs.top_logprobs[0]) <= 6


@test("completion/test_completion.py::test_too_many_completion_logprobs")
def _():
    refused(lambda: complete([0, 0, 0, 0, 0], logprobs=21))
    refused(lambda: list(complete([0, 0, 0, 0, 0], logprobs=30, stream=True)))
    assert complete([0, 0, 0, 0, 0]).choices


@test("completion/test_completion.py::test_prompt_logprobs_completion")
def _():
    both = ["A robot may not injure another robot", "My name is"]
    refused(lambda: complete(both, prompt_logprobs=-1))
    for n in (0, 1):
        assert all(c.prompt_logprobs for c in complete(both, prompt_logprobs=n).choices)
    assert not hasattr(complete(both).choices[0], "prompt_logprobs")


@test("completion/test_completion.py::test_completion_streaming")
def _():
    chunks = list(complete("What is an LLM?", stream=True))
    assert "".join(c.choices[0].text for c in chunks) == complete("What is an LLM?").choices[0].text
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["length"] and chunks[-1].choices[0].finish_reason == "length"


@test("completion/test_completion.py::test_parallel_no_streaming")
def _():
    r = complete("What is an LLM?", n=3, max_tokens=50, temperature=1, seed=42, logprobs=0)
    assert [c.index for c in r.choices] == [0, 1, 2] and len({c.text for c in r.choices}) == 3 and all(c.finish_reason for c in r.choices)


@test("completion/test_completion.py::test_parallel_streaming")
def _():
    texts, ends = {0: "", 1: "", 2: ""}, 0
    for chunk in complete("What is an LLM?", n=3, max_tokens=50, temperature=1, seed=42, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
        ends += chunk.choices[0].finish_reason is not None
    assert ends == 3 and len(set(texts.values())) == 3


@test("completion/test_completion.py::test_completion_stream_options")
def _():
    for options in ({"include_usage": False, "continuous_usage_stats": False}, {"include_usage": False, "continuous_usage_stats": True}, {}):
        assert all(c.usage is None for c in complete(stream=True, stream_options=options))
    chunks = list(complete(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": False}))
    assert all(c.usage is None for c in chunks[:-1]) and chunks[-1].usage.completion_tokens == 5 and chunks[-1].choices == []
    chunks = list(complete(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}))
    assert all(c.usage.total_tokens == c.usage.prompt_tokens + c.usage.completion_tokens for c in chunks) and chunks[-1].choices == []
    for options in ({"include_usage": None}, {"include_usage": True}, {"continuous_usage_stats": None}, {"continuous_usage_stats": True}):
        refused(lambda: complete(stream=False, stream_options=options))


@test("completion/test_completion.py::test_echo_logprob_completion")
def _():
    for logprobs in (1, 0):
        for prompt in ("Hello, my name is", [40, 41, 42, 43, 44]):
            choice = complete(prompt, echo=True, logprobs=logprobs).choices[0]
            assert not isinstance(prompt, str) or choice.text.startswith(prompt)
            of = choice.logprobs
            assert len(of.text_offset) > 5 and of.token_logprobs[0] is None and of.top_logprobs[0] is None and len(of.tokens) > 5
            assert all(max(logprobs, 1) <= len(top) <= logprobs + 1 for top in of.top_logprobs[1:])


@test("completion/test_completion.py::test_invalid_json_schema", "chat_completion/test_chat_completion.py::test_invalid_json_schema")
def _():
    refused(lambda: complete(structured_outputs={"json": WRONG_SCHEMA}), "foo")
    refused(lambda: chat(structured_outputs={"json": WRONG_SCHEMA}), "foo")


@test("completion/test_completion.py::test_invalid_regex", "chat_completion/test_chat_completion.py::test_invalid_regex")
def _():
    refused(lambda: complete(structured_outputs={"regex": "[.*"}))
    refused(lambda: chat(structured_outputs={"regex": "[.*"}))


@test(
    "completion/test_completion.py::test_invalid_grammar",
    "chat_completion/test_chat_completion.py::test_invalid_grammar",
    "chat_completion/test_chat_completion.py::test_empty_grammar",
)
def _():
    for text in ("root ::= nothing", ""):
        refused(lambda: complete(structured_outputs={"grammar": text}))
        refused(lambda: chat(structured_outputs={"grammar": text}))


@test("completion/test_prompt_validation.py::test_empty_prompt", "completion/test_empty_prompt_list.py::test_empty_prompt_list_rejected")
def _():
    refused(lambda: complete([]), "prompt")
    assert httpx.post(URL + "/completions", json={"model": MODEL, "prompt": None}).status_code == 400


@test("completion/test_empty_prompt_list.py::test_nonempty_prompt_list_ok")
def _():
    assert complete(["hello"]).choices


@test("completion/test_prompt_validation.py::test_out_of_vocab_token_ids")
def _():
    refused(lambda: complete([999999]), "999999")


@test("completion/test_completion_error.py::test_negative_prompt_token_ids_nested", "completion/test_completion_error.py::test_negative_prompt_token_ids_flat")
def _():
    refused(lambda: complete([[-1]]), "-1")
    refused(lambda: complete([-1]), "-1")


@test(
    "completion/test_completion_error.py::test_json_schema_response_format_missing_schema",
    "chat_completion/test_chat_error.py::test_json_schema_response_format_missing_schema",
)
def _():
    refused(lambda: complete(response_format={"type": "json_schema"}), "json_schema")
    refused(lambda: chat(response_format={"type": "json_schema"}), "json_schema")


@test("basic/test_return_token_ids.py::test_basic_completion_with_emoji")
def _():
    prompt = "Complete this sentence with emojis: I love coding 🚀"
    choice = complete(prompt, max_tokens=10, logprobs=1, return_token_ids=True).choices[0]
    own = httpx.post(BASE + "/tokenize", json={"model": MODEL, "prompt": prompt}).json()["tokens"]
    assert choice.prompt_token_ids == own and choice.token_ids
    choice = complete(prompt, return_token_ids=False).choices[0].model_dump()
    assert choice.get("token_ids") is None and choice.get("prompt_token_ids") is None


@test("basic/test_return_token_ids.py::test_chat_completion_with_emoji_and_token_ids")
def _():
    messages = [{"role": "user", "content": "Repeat after me: I love cats 🐱"}]
    r = chat(messages, temperature=0, return_token_ids=True)
    assert r.prompt_token_ids and r.choices[0].token_ids
    chunks = list(chat(messages, temperature=0, return_token_ids=True, stream=True))
    assert chunks[0].prompt_token_ids == r.prompt_token_ids
    assert all(not getattr(c, "prompt_token_ids", None) for c in chunks[1:])
    assert sum((c.choices[0].model_dump().get("token_ids") or [] for c in chunks if c.choices), []) == r.choices[0].token_ids


@test("basic/test_return_token_ids.py::test_chat_completion_with_tool_use")
def _():
    r = chat(model=TOOLS, tools=[tool], tool_choice="auto", temperature=0, logprobs=True, return_token_ids=True, max_completion_tokens=20)
    assert r.prompt_token_ids and r.choices[0].token_ids
    r = chat(model=TOOLS, tools=[tool], tool_choice="auto", temperature=0, logprobs=True, return_token_ids=False, max_completion_tokens=20).model_dump()
    assert r.get("prompt_token_ids") is None and r["choices"][0].get("token_ids") is None


# chat


@test("chat_completion/test_chat.py::test_no_logprobs_chat")
def _():
    for model in (MODEL, ADAPTER):
        assert chat(model=model, logprobs=False).choices[0].logprobs is None


@test("chat_completion/test_chat.py::test_zero_logprobs_chat", "chat_completion/test_chat.py::test_some_logprobs_chat")
def _():
    for model in (MODEL, ADAPTER):
        for n in (0, 5):
            assert len(chat(model=model, logprobs=True, top_logprobs=n).choices[0].logprobs.content[0].top_logprobs) == n


@test("chat_completion/test_chat.py::test_too_many_chat_logprobs")
def _():
    for model in (MODEL, ADAPTER):
        refused(lambda: list(chat(model=model, logprobs=True, top_logprobs=21, stream=True)))
        refused(lambda: chat(model=model, logprobs=True, top_logprobs=30))
        assert chat(model=model).choices[0].message.content


@test("chat_completion/test_chat.py::test_prompt_logprobs_chat", "chat_completion/test_chat.py::test_more_than_one_prompt_logprobs_chat")
def _():
    refused(lambda: chat(prompt_logprobs=-1))
    assert chat(prompt_logprobs=0).prompt_logprobs and not hasattr(chat(), "prompt_logprobs")
    assert len(chat(prompt_logprobs=1).prompt_logprobs[3]) in (1, 2) and len(chat(prompt_logprobs=2).prompt_logprobs[3]) in (2, 3)


@test("chat_completion/test_chat.py::test_single_chat_session")
def _():
    for model in (MODEL, ADAPTER):
        r = chat(model=model, logprobs=True, top_logprobs=5, min_tokens=5)  # what is sampled may end before
        assert r.id and len(r.choices) == 1 and r.choices[0].finish_reason == "length" and r.choices[0].message.role == "assistant"
        assert r.usage.completion_tokens == 5 and r.usage.total_tokens == r.usage.prompt_tokens + 5
        more = asked + [{"role": "assistant", "content": r.choices[0].message.content}, {"role": "user", "content": "express your result in json"}]
        assert chat(more, model=model).choices[0].message.content is not None


@test("chat_completion/test_chat.py::test_chat_streaming", "tool_use/test_chat_completions.py::test_chat_completion_without_tools")
def _():
    for model in (MODEL, ADAPTER):
        whole = chat(model=model, temperature=0, max_completion_tokens=10).choices[0]
        chunks = list(chat(model=model, temperature=0, max_completion_tokens=10, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.message.content and not whole.message.tool_calls
        assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [whole.finish_reason]
        assert [c.choices[0].delta.role for c in chunks if c.choices[0].delta.role] == ["assistant"]


@test("chat_completion/test_chat.py::test_structured_outputs_choice_chat", "chat_completion/test_chat.py::test_structured_outputs_choice_chat_logprobs")
def _():
    choices = ["Python", "Java", "Rust", "C++", "Go"]
    first = chat(temperature=0.7, structured_outputs={"choice": choices}, max_completion_tokens=10).choices[0].message.content
    assert first in choices
    r = chat(structured_outputs={"choice": choices}, logprobs=True, top_logprobs=5, max_completion_tokens=10)
    assert all(top.logprob >= -9999 for top in r.choices[0].logprobs.content[0].top_logprobs)


@test("chat_completion/test_chat.py::test_structured_outputs_json_chat")
def _():
    made = json.loads(chat(structured_outputs={"json": PERSON}, max_completion_tokens=200).choices[0].message.content)
    assert list(made) == ["name", "age"] and 0 <= made["age"] <= 120


@test("chat_completion/test_chat.py::test_structured_outputs_regex_chat")
def _():
    assert re.fullmatch(ADDRESS, chat(structured_outputs={"regex": ADDRESS}, max_completion_tokens=40).choices[0].message.content)


@test("chat_completion/test_chat.py::test_structured_outputs_type_error")
def _():
    refused(lambda: chat(structured_outputs={"regex": {1: "Python", 2: "C++"}}), "structured_outputs")


@test("chat_completion/test_chat.py::test_response_format_json_object")
def _():
    r = chat(response_format={"type": "json_object"}, max_completion_tokens=300)
    assert r.choices[0].finish_reason == "length" or isinstance(json.loads(r.choices[0].message.content), dict)


@test("chat_completion/test_chat.py::test_response_format_json_schema")
def _():
    r = chat(response_format={"type": "json_schema", "json_schema": {"name": "foo_test", "schema": SCHEMA}}, max_completion_tokens=200)
    valid(r.choices[0].message.content)


@test("chat_completion/test_chat.py::test_response_format_text")
def _():
    assert chat(response_format={"type": "text"}).choices[0].message.content is not None


@test("chat_completion/test_chat.py::test_complex_message_content")
def _():
    text, parts = "what is 1+1?", [{"type": "text", "text": "what is 1+1?"}]
    one, two = (chat([{"role": "user", "content": c}], temperature=0, seed=0).choices[0].message.content for c in (text, parts))
    assert one == two


@test("chat_completion/test_chat.py::test_chat_completion_n_parameter_non_streaming", "chat_completion/test_chat.py::test_chat_completion_n_equals_1")
def _():
    r = chat(n=3, temperature=1, max_completion_tokens=20)
    assert [c.index for c in r.choices] == [0, 1, 2] and len({c.message.content for c in r.choices}) > 1
    assert len(chat(n=1, temperature=0.7).choices) == 1


@test("chat_completion/test_chat.py::test_chat_completion_n_parameter_streaming")
def _():
    texts = {0: "", 1: ""}
    for chunk in chat(n=2, temperature=0.7, max_completion_tokens=15, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert all(texts.values())


@test("chat_completion/test_chat.py::test_chat_completion_n_with_seed")
def _():
    r = chat(n=2, temperature=0.8, seed=42, max_completion_tokens=10)
    assert len(r.choices) == 2 and all(c.message.content for c in r.choices)


@test("chat_completion/test_chat_echo.py::test_chat_session_with_echo_and_continue_final_message")
def _():
    said = "Here is a common saying about apple. An apple a day, keeps"
    messages = [{"role": "user", "content": "tell me a common saying"}, {"role": "assistant", "content": said}]
    for echo in (True, False):
        r = chat(messages, echo=echo, continue_final_message=True, add_generation_prompt=False)
        assert (said in r.choices[0].message.content) == echo and r.choices[0].message.role == "assistant"


@test(
    "chat_completion/test_chat_logit_bias_validation.py::test_chat_logit_bias_valid",
    "chat_completion/test_chat_logit_bias_validation.py::test_chat_logit_bias_invalid",
    "chat_completion/test_chat_logit_bias_validation.py::test_chat_logit_bias_non_integer_key",
    "chat_completion/test_chat_logit_bias_validation.py::test_chat_logit_bias_non_numeric_value",
    "chat_completion/test_chat_logit_bias_validation.py::test_chat_logit_bias_multiple_non_integer_keys",
)
def _():
    n = size()
    assert chat(logit_bias={str(n - 1): 1.0}).choices[0].message.content is not None
    refused(lambda: chat(logit_bias={str(n + 1): 1.0}), str(n + 1), str(n))
    refused(lambda: chat(logit_bias={"not_a_token_id": 50}), "not_a_token_id", "logit_bias")
    refused(lambda: chat(logit_bias={"1": "not_a_number"}), "logit_bias")
    refused(lambda: chat(logit_bias={"bad1": 50, "bad2": 20}), "bad1", "bad2")


@test(
    "chat_completion/test_chat_stop_token_ids_validation.py::test_chat_stop_token_ids_valid",
    "chat_completion/test_chat_stop_token_ids_validation.py::test_chat_stop_token_ids_out_of_vocab",
    "chat_completion/test_chat_stop_token_ids_validation.py::test_chat_stop_token_ids_negative",
)
def _():
    n = size()
    assert chat(stop_token_ids=[n - 1]).choices[0].message.content is not None
    refused(lambda: chat(stop_token_ids=[n + 1]), str(n + 1), str(n))
    refused(lambda: chat(stop_token_ids=[-1]))


@test("chat_completion/test_non_object_body_validation.py::test_chat_completion_request_rejects_non_object_body")
def _():
    for body in ('"this is not valid json{{{"', '["not", "an", "object"]', "42", "null", "{"):
        assert httpx.post(URL + "/chat/completions", content=body, headers={"Content-Type": "application/json"}).status_code == 400


@test("chat_completion/test_chat_error.py::test_system_message_accepts_text", "chat_completion/test_chat_error.py::test_system_message_accepts_text_array")
def _():
    for content in ("You are helpful.", [{"type": "text", "text": "You are helpful."}]):
        assert chat([{"role": "system", "content": content}, asked[1]]).choices


# tools


@test(
    "chat_completion/test_tool_choice_null.py::test_null_tool_choice_defaults_to_auto_like_an_absent_one",
    "chat_completion/test_tool_choice_null.py::test_null_tool_choice_without_tools_matches_an_absent_one",
    "chat_completion/test_tool_choice_null.py::test_null_tool_choice_does_not_conflict_with_structured_outputs",
    "chat_completion/test_tool_choice_null.py::test_explicit_none_tool_choice_is_untouched",
)
def _():
    def content(**fields):
        r = httpx.post(URL + "/chat/completions", json={"model": TOOLS, "messages": asked, "temperature": 0, "max_tokens": 8, **fields}, timeout=60)
        assert r.status_code == 200, r.text
        return r.json()["choices"][0]["message"]["content"]

    assert content(tools=[tool]) == content(tools=[tool], tool_choice=None)
    assert content() == content(tool_choice=None) == content(tools=[tool], tool_choice="none")
    assert content(structured_outputs={"choice": ["yes"]}, tool_choice=None) == "yes"


@test(
    "chat_completion/test_tool_choice_null.py::test_invalid_tool_choice_is_still_rejected",
    "tool_use/test_chat_completion_request_validations.py::test_chat_completion_request_with_tool_choice_but_no_tools",
    "chat_completion/test_completion_with_function_calling.py::test_inconsistent_tool_choice_and_tools",
)
def _():
    refused(lambda: chat(model=TOOLS, tools=[tool], tool_choice="bogus"), "tool_choice")
    for choice in ("required", named):
        refused(lambda: chat(model=TOOLS, tool_choice=choice), "tool")
    refused(lambda: chat(model=TOOLS, tools=[tool], tool_choice={"type": "function", "function": {"name": "nondefined_function_name"}}), "nondefined_function_name")
    refused(lambda: chat(model=TOOLS, tools=[tool], tool_choice={}), "tool_choice")


@test("chat_completion/test_completion_with_function_calling.py::test_named_tool_use")
def _():
    whole = chat(model=TOOLS, tools=[tool], tool_choice=named, temperature=0, max_completion_tokens=200).choices[0].message
    assert not whole.content
    valid(whole.tool_calls[0].function.arguments)
    text, ends = "", 0
    for chunk in chat(model=TOOLS, tools=[tool], tool_choice=named, temperature=0, max_completion_tokens=200, stream=True):
        delta = chunk.choices[0].delta
        assert not delta.content
        for call in delta.tool_calls or []:
            text += call.function.arguments or ""
        ends += chunk.choices[0].finish_reason is not None
    valid(text)
    assert ends == 1


@test("chat_completion/test_completion_with_function_calling.py::test_max_tokens_with_tool_choice_required")
def _():
    for choice in ("required", named):
        r = chat(model=TOOLS, tools=[tool, other], tool_choice=choice, temperature=0, max_completion_tokens=1).choices[0]
        assert r.finish_reason == "length" and not r.message.tool_calls and not r.message.content


@test("tool_use/test_chat_completions.py::test_chat_completion_with_tools")
def _():
    ask = dict(model=TOOLS, tools=[tool], temperature=0, max_completion_tokens=20)
    whole = chat(**ask).choices[0]
    chunks = list(chat(**ask, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == (whole.message.content or "")
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [whole.finish_reason]


@test("tool_use/test_tool_calls.py::test_tool_call_and_choice", "tool_use/test_parallel_tool_calls.py::test_parallel_tool_calls")
def _():
    for parallel in (False, True):
        same_calls(dict(model=TOOLS, tools=[tool, other], tool_choice="required", parallel_tool_calls=parallel, temperature=0, max_completion_tokens=150))


@test("tool_use/test_tool_calls.py::test_tool_call_with_results", "tool_use/test_parallel_tool_calls.py::test_parallel_tool_calls_with_results")
def _():
    calls = [{"id": f"call_{i:020}", "type": "function", "function": {"name": "look", "arguments": json.dumps({"place": p, "many": 1})}} for i, p in enumerate(("sea", "sky"))]
    messages = [{"role": "user", "content": "Look"}, {"role": "assistant", "content": None, "tool_calls": calls}]
    messages += [{"role": "tool", "tool_call_id": c["id"], "content": "98 degrees"} for c in calls]
    ask = dict(messages=messages, model=TOOLS, tools=[tool], temperature=0, max_completion_tokens=20)
    whole = chat(**ask).choices[0]
    chunks = list(chat(**ask, stream=True))
    assert not whole.message.tool_calls and "".join(c.choices[0].delta.content or "" for c in chunks) == whole.message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [whole.finish_reason]


@test("chat_completion/test_completion_with_function_calling.py::test_no_args_tool_call")
def _():
    clock = {"type": "function", "function": {"name": "get_current_time", "description": "Get the time", "parameters": {"type": "object", "properties": {}, "required": []}}}
    for arguments in ("{}", ""):
        call = chat(model=TOOLS, tools=[clock], tool_choice="required", temperature=0, max_completion_tokens=200).choices[0].message.tool_calls[0]
        assert call.function.name == "get_current_time" and call.function.arguments.startswith("{")
        said = {"role": "assistant", "content": None, "tool_calls": [{"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}]}
        answer = {"role": "tool", "tool_call_id": call.id, "content": "12:00"}
        assert chat([asked[1], said, answer], model=TOOLS, tools=[clock], temperature=0).choices[0].message.content


@test("tool_use/test_chat_completion_request_validations.py::test_structured_outputs_with_auto_tool_choice_allowed")
def _():
    r = chat(model=TOOLS, tools=[tool], tool_choice="auto", structured_outputs={"json": SCHEMA}, max_completion_tokens=200)
    valid(r.choices[0].message.content)


@test(
    "tool_use/test_chat_completion_request_validations.py::test_structured_outputs_with_named_tool_choice_rejected",
    "tool_use/test_chat_completion_request_validations.py::test_multiple_structured_outputs_rejected",
    "tool_use/test_chat_completion_request_validations.py::test_invalid_structured_outputs_type_rejected",
)
def _():
    refused(lambda: chat(model=TOOLS, tools=[tool], tool_choice=named, structured_outputs={"json": {"type": "object"}}), "structured_outputs")
    refused(lambda: chat(structured_outputs={"json": {"type": "object"}, "regex": ".*"}), "structured_outputs")
    refused(lambda: chat(structured_outputs=3), "structured_outputs")


@test(
    "tool_use/test_chat_completion_request_validations.py::test_reasoning_content_normalized_to_reasoning",
    "tool_use/test_chat_completion_request_validations.py::test_no_reasoning_fields_unchanged",
)
def _():
    for more in ({"reasoning_content": "2+2 equals 4"}, {}):
        assert chat([{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4", **more}, {"role": "user", "content": "sure?"}]).choices


# adapters


@test("lora/test_lora_adapters.py::test_static_lora_lineage", "lora/test_dora_adapters.py::test_static_dora_lineage")
def _():
    models = api.models.list().data
    assert models[0].id == MODEL and models[0].parent is None
    assert all(m.parent == MODEL for m in models[1:]) and TOOLS in {m.id for m in models}


@test(
    "lora/test_lora_adapters.py::test_dynamic_lora_lineage",
    "lora/test_dora_adapters.py::test_dynamic_dora_load_unload_reload_and_lineage",
    "lora/test_serving_models.py::test_load_lora_adapter_success",
    "lora/test_serving_models.py::test_unload_lora_adapter_success",
)
def _():
    for _ in range(2):
        assert "success" in load("dynamic", folder).text.lower()
        model = api.models.retrieve("dynamic")
        assert model.parent == MODEL and model.root.endswith(folder)
        assert complete(PROMPT, model="dynamic").choices[0].text
        assert "success" in unload("dynamic").text.lower()
        assert "dynamic" not in {m.id for m in api.models.list()}


@test("lora/test_lora_adapters.py::test_load_lora_adapter_with_same_name_replaces_inplace")
def _():
    assert load("replaceable", folder).status_code == 200
    assert load("replaceable", folder, load_inplace=True).status_code == 200
    assert complete(PROMPT, model="replaceable").choices
    unload("replaceable")


@test("lora/test_lora_adapters.py::test_load_lora_adapter_with_load_inplace_false_errors", "lora/test_serving_models.py::test_load_lora_adapter_duplicate")
def _():
    assert load("twice", folder).status_code == 200
    again = load("twice", folder)
    assert again.status_code == 400 and "already been loaded" in again.text, again.text
    unload("twice")


@test("lora/test_lora_adapters.py::test_dynamic_lora_not_found")
def _():
    assert load("notfound", os.path.join(os.path.dirname(folder), "not-an-adapter")).status_code == 404


@test(
    "lora/test_serving_models.py::test_load_lora_adapter_missing_fields",
    "lora/test_serving_models.py::test_unload_lora_adapter_missing_fields",
    "lora/test_serving_models.py::test_unload_lora_adapter_not_found",
)
def _():
    assert load("", "").status_code == 400 and unload("").status_code == 400 and unload("nonexistent_adapter").status_code == 404


@test("lora/test_lora_adapters.py::test_multiple_lora_adapters")
def _():
    def one(i):
        assert load(f"many-{i}", folder).status_code == 200
        for _ in range(3):
            assert len(complete(["Hello there", "Foo bar bazz buzz"], model=f"many-{i}").choices) == 2
        unload(f"many-{i}")

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(one, range(10)))


@test("lora/test_lora_adapters.py::test_loading_invalid_adapters_does_not_break_others")
def _():
    with concurrent.futures.ThreadPoolExecutor(2) as pool, tempfile.TemporaryDirectory(dir=os.path.dirname(folder)) as broken:
        with open(os.path.join(broken, "adapter_config.json"), "w") as f:
            f.write("this is not json")
        good = [pool.submit(complete, ["Hello there", "Foo bar"], ADAPTER) for _ in range(20)]
        for _ in range(25):
            assert load("notfound", os.path.join(os.path.dirname(folder), "not-an-adapter")).status_code == 404
            assert load("invalid", broken).status_code == 422
        assert all(len(g.result().choices) == 2 for g in good)
    assert load("valid", folder).status_code == 200 and complete(PROMPT, model="valid").choices
    unload("valid")


@test(
    "completion/test_lora_resolvers.py::test_serving_completion_resolver_not_found",
    "lora/test_serving_models.py::test_pooling_maybe_get_adapters_unknown_model_raises",
)
def _():
    refused(lambda: complete(model="non-existent-lora-adapter"), "non-existent-lora-adapter", by=openai.NotFoundError)
    refused(lambda: api.embeddings.create(model="unknown-model", input="a"), "unknown-model", by=openai.NotFoundError)


@test("lora/test_serving_models.py::test_pooling_maybe_get_adapters_lora_name_sets_lora_request")
def _():
    one, two = (api.embeddings.create(model=m, input="a").data[0].embedding for m in (MODEL, ADAPTER))
    assert one != two
