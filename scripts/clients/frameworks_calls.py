from typing import Literal

import instructor
import litellm
import openai
import outlines
from case import ADAPTER, FUNCTION, MODEL, PROMPT, TOOLS, URL, Client, valid
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel

asked = [{"role": "user", "content": "Where is the ship?"}]


class Place(BaseModel, extra="forbid"):
    """Look somewhere"""

    place: Literal["sea", "sky"]
    many: Literal[1, 2, 3]


langchain = Client("langchain-openai")
chat = ChatOpenAI(base_url=URL, api_key="any", model=MODEL, max_tokens=60, max_retries=0)


@langchain.call("invoke and stream")
def _():
    assert chat.invoke("Where is the ship?").content
    assert "".join(c.content for c in chat.stream("Where is the ship?"))


@langchain.call("completions")
def _():
    assert OpenAI(base_url=URL, api_key="any", model=ADAPTER, max_tokens=8).invoke(PROMPT)


@langchain.call("with_structured_output, json_schema and function_calling")
def _():
    assert chat.with_structured_output(Place, method="json_schema").invoke("Where?").place in ("sea", "sky")
    tools = ChatOpenAI(base_url=URL, api_key="any", model=TOOLS, max_tokens=200, max_retries=0)
    assert tools.with_structured_output(Place, method="function_calling").invoke("Where?").place in ("sea", "sky")


@langchain.call("bind_tools, required, streamed")
def _():
    tools = ChatOpenAI(base_url=URL, api_key="any", model=TOOLS, max_tokens=200, max_retries=0).bind_tools([Place], tool_choice="required")
    whole = None
    for chunk in tools.stream("Where?"):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["args"]["place"] in ("sea", "sky")


@langchain.call("the responses API, whole, streamed and with a tool")
def _():
    api = dict(base_url=URL, api_key="any", max_tokens=200, max_retries=0, use_responses_api=True)
    assert ChatOpenAI(model=MODEL, **api).invoke("Where is the ship?").text
    assert "".join(str(c.text) for c in ChatOpenAI(model=MODEL, **api).stream("Where is the ship?"))
    assert ChatOpenAI(model=TOOLS, **api).bind_tools([Place], tool_choice="required").invoke("Where?").tool_calls[0]["args"]["place"]


@langchain.call("embeddings")
def _():
    e = OpenAIEmbeddings(base_url=URL, api_key="any", model=MODEL, check_embedding_ctx_length=False)
    assert len(e.embed_documents(["a", "b"])) == 2


instruct = Client("instructor")


@instruct.call("tools, JSON schema")
def _():
    api = openai.OpenAI(base_url=URL, api_key="any", max_retries=0)
    for mode, model in ((instructor.Mode.TOOLS, TOOLS), (instructor.Mode.JSON_SCHEMA, MODEL)):
        made = instructor.from_openai(api, mode=mode).chat.completions.create(model=model, messages=asked, response_model=Place, max_tokens=200, max_retries=0)
        assert made.place in ("sea", "sky")


outline = Client("outlines")


@outline.call("a type, whole and streamed")
def _():
    model = outlines.from_openai(openai.OpenAI(base_url=URL, api_key="any", max_retries=0), MODEL)
    assert Place.model_validate_json(model("Where is the ship?", Place, max_tokens=200))
    assert "".join(model.stream("Where is the ship?", max_tokens=8))


@outline.call("vLLM's guided choice and regular expression")
def _():
    model = outlines.from_vllm(openai.OpenAI(base_url=URL, api_key="any", max_retries=0), MODEL)
    assert model("Where is the ship?", Literal["sea", "sky"], max_tokens=20) in ("sea", "sky")
    assert len(model("How many?", outlines.types.Regex(r"[0-9]{3}"), max_tokens=20)) == 3


lite = Client("litellm")
api = dict(api_base=URL, api_key="any", num_retries=0)


@lite.call("completion, whole and streamed")
def _():
    ask = dict(model="openai/" + MODEL, messages=asked, max_tokens=8, temperature=0)
    whole = litellm.completion(**ask, **api).choices[0].message.content
    assert whole == "".join(c.choices[0].delta.content or "" for c in litellm.completion(**ask, stream=True, **api))


@lite.call("text completion, by its own names of providers")
def _():
    assert litellm.text_completion(model="text-completion-openai/" + ADAPTER, prompt=PROMPT, max_tokens=8, **api).choices[0].text
    assert litellm.completion(model="hosted_vllm/" + MODEL, messages=asked, max_tokens=8, **api).choices[0].message.content


@lite.call("a schema, a tool")
def _():
    r = litellm.completion(model="openai/" + MODEL, messages=asked, response_format=Place, max_tokens=200, **api)
    Place.model_validate_json(r.choices[0].message.content)
    r = litellm.completion(model="openai/" + TOOLS, messages=asked, tools=[{"type": "function", "function": FUNCTION}], tool_choice="required", max_tokens=200, **api)
    valid(r.choices[0].message.tool_calls[0].function.arguments)


@lite.call("responses, whole and streamed")
def _():
    assert litellm.responses(model="openai/" + MODEL, input="Where is the ship?", max_output_tokens=16, **api).output
    kinds = [e.type for e in litellm.responses(model="openai/" + MODEL, input="Where is the ship?", max_output_tokens=16, stream=True, **api)]
    assert kinds[-1] in ("response.completed", "response.incomplete"), kinds[-1]


@lite.call("embedding")
def _():
    assert litellm.embedding(model="openai/" + MODEL, input=["a"], **api).data
