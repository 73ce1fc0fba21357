import json
from typing import Literal

import openai
from case import ADAPTER, FUNCTION, MODEL, PROMPT, TOOLS, URL, Client, valid
from pydantic import BaseModel

client = Client("openai")
api = openai.OpenAI(base_url=URL, api_key="any", max_retries=0)
asked = [{"role": "user", "content": "Where is the ship?"}]
tool = {"type": "function", "function": FUNCTION}
function = {"type": "function", **FUNCTION, "strict": True}


class Place(BaseModel, extra="forbid"):
    place: Literal["sea", "sky"]
    many: Literal[1, 2, 3]


@client.call("models")
def _():
    assert {MODEL, ADAPTER, TOOLS} <= {m.id for m in api.models.list()}
    assert api.models.retrieve(ADAPTER).id == ADAPTER


@client.call("completions, whole and streamed are the same")
def _():
    ask = dict(model=ADAPTER, prompt=PROMPT, max_tokens=12, temperature=0)
    whole = api.completions.create(**ask)
    text = "".join(c.choices[0].text for c in api.completions.create(**ask, stream=True) if c.choices)
    assert whole.choices[0].text == text and whole.usage.completion_tokens


@client.call("completions, logprobs, n, seed, stop, logit_bias")
def _():
    r = api.completions.create(model=MODEL, prompt=["The sea", "The sky"], max_tokens=4, n=2, seed=7, logprobs=2, stop=["zzz"], logit_bias={"5": -1})
    assert len(r.choices) == 4 and len(r.choices[0].logprobs.top_logprobs[0]) >= 2


@client.call("chat, whole")
def _():
    r = api.chat.completions.create(model=MODEL, messages=asked, max_completion_tokens=8, logprobs=True, top_logprobs=2)
    assert r.choices[0].message.content and len(r.choices[0].logprobs.content) == r.usage.completion_tokens


@client.call("chat, streamed with usage")
def _():
    chunks = list(api.chat.completions.create(model=MODEL, messages=asked, max_tokens=8, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens == 8


@client.call("chat, json_schema by .parse")
def _():
    r = api.chat.completions.parse(model=MODEL, messages=asked, response_format=Place, max_tokens=200)
    assert r.choices[0].message.parsed.place in ("sea", "sky")


@client.call("chat, json_schema streamed by .stream")
def _():
    with api.chat.completions.stream(model=MODEL, messages=asked, response_format=Place, max_tokens=200) as s:
        for _ in s:
            pass
        assert s.get_final_completion().choices[0].message.parsed.place


@client.call("chat, a tool that is required")
def _():
    r = api.chat.completions.create(model=TOOLS, messages=asked, tools=[tool], tool_choice="required", parallel_tool_calls=False, max_tokens=200)
    valid(r.choices[0].message.tool_calls[0].function.arguments)
    assert r.choices[0].finish_reason == "tool_calls"


@client.call("chat, a tool by name, streamed by .stream")
def _():
    with api.chat.completions.stream(model=TOOLS, messages=asked, tools=[tool], tool_choice={"type": "function", "function": {"name": "look"}}, max_tokens=200) as s:
        for _ in s:
            pass
        valid(s.get_final_completion().choices[0].message.tool_calls[0].function.arguments)


@client.call("chat, a tool's answer")
def _():
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": json.dumps({"place": "sea", "many": 1})}}
    r = api.chat.completions.create(model=TOOLS, messages=[*asked, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "a ship"}], tools=[tool], max_tokens=8)
    assert r.choices[0].finish_reason in ("stop", "length")


@client.call("embeddings, base64 as it asks for them, and dimensions")
def _():
    r = api.embeddings.create(model=MODEL, input=["The sea", "The sky"], dimensions=8)
    assert [len(e.embedding) for e in r.data] == [8, 8]


@client.call("responses, whole")
def _():
    r = api.responses.create(model=MODEL, input="Where is the ship?", instructions="Be brief.", max_output_tokens=16, temperature=0, store=False, metadata={"a": "b"})
    assert r.output_text and r.usage.total_tokens and r.status in ("completed", "incomplete") and r.metadata == {"a": "b"}


@client.call("responses, streamed by .stream, as whole")
def _():
    ask = dict(model=MODEL, input=[{"role": "user", "content": [{"type": "input_text", "text": "Where is the ship?"}]}], max_output_tokens=400, temperature=0, extra_body={"stop": [" "]})  # an end, which .stream wants
    with api.responses.stream(**ask) as s:
        kinds = [e.type for e in s]
        last = s.get_final_response()
    whole = api.responses.create(**ask)
    assert last.output_text == whole.output_text and kinds[0] == "response.created", (last.output_text, whole.output_text)
    deltas = "".join(e.delta for e in api.responses.create(**ask, stream=True) if e.type == "response.output_text.delta")
    assert deltas == whole.output_text


@client.call("responses, json_schema by .parse, whole and streamed")
def _():
    r = api.responses.parse(model=MODEL, input="Where is the ship?", text_format=Place, max_output_tokens=200)
    assert r.output_parsed.place in ("sea", "sky")
    with api.responses.stream(model=MODEL, input="Where is the ship?", text_format=Place, max_output_tokens=200) as s:
        for _ in s:
            pass
        assert s.get_final_response().output_parsed.place in ("sea", "sky")


@client.call("responses, a tool, its answer, and on")
def _():
    conversation = [{"role": "user", "content": "Where is the ship?"}]
    r = api.responses.create(model=TOOLS, input=conversation, tools=[function], tool_choice="required", parallel_tool_calls=False, max_output_tokens=200)
    call = r.output[0]
    valid(call.arguments)
    conversation += [call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "at sea"}]
    r = api.responses.create(model=TOOLS, input=conversation, tools=[function], max_output_tokens=8)
    assert r.status in ("completed", "incomplete")
    conversation += [item.model_dump(exclude_none=True) for item in r.output] + [{"role": "user", "content": "And now?"}]
    assert api.responses.create(model=TOOLS, input=conversation, tools=[function], max_output_tokens=8).output


@client.call("responses, a tool by name, streamed")
def _():
    events = list(api.responses.create(model=TOOLS, input="Where?", tools=[function], tool_choice={"type": "function", "name": "look"}, stream=True, max_output_tokens=200))
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    valid(done[0].arguments)
    assert [e.sequence_number for e in events] == list(range(len(events)))


@client.call("responses, previous_response_id is a 400 that says why")
def _():
    try:
        api.responses.create(model=MODEL, input="a", previous_response_id="resp_1")
    except openai.BadRequestError as e:
        assert e.param == "previous_response_id" and "stateless" in e.message
    else:
        raise AssertionError("it was taken")


@client.call("errors: a model that is not there, a prompt that is too long")
def _():
    try:
        api.chat.completions.create(model="nobody", messages=asked)
    except openai.NotFoundError as e:
        assert e.code == "model_not_found"
    try:
        api.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "a " * 2000}])
    except openai.BadRequestError as e:
        assert e.code == "context_length_exceeded"
    else:
        raise AssertionError("it was taken")

