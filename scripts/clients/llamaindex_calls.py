from typing import Literal

from case import ADAPTER, MODEL, PROMPT, TOOLS, URL, Client
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

client = Client("llama-index-llms-openai-like")
asked = [ChatMessage(role="user", content="Where is the ship?")]
api = dict(api_base=URL, api_key="any", context_window=512, max_tokens=60, max_retries=0, timeout=60)


class Place(BaseModel, extra="forbid"):
    """Look somewhere"""

    place: Literal["sea", "sky"]
    many: Literal[1, 2, 3]


@client.call("complete and stream_complete")
def _():
    model = OpenAILike(model=ADAPTER, is_chat_model=False, **api)
    assert model.complete(PROMPT).text
    assert [r.text for r in model.stream_complete(PROMPT)][-1]


@client.call("chat and stream_chat")
def _():
    model = OpenAILike(model=MODEL, is_chat_model=True, **api)
    assert model.chat(asked).message.content
    assert [r.message.content for r in model.stream_chat(asked)][-1]


@client.call("a tool that is required")
def _():
    def look(place: str) -> str:
        """Look somewhere"""
        return place

    model = OpenAILike(model=TOOLS, is_chat_model=True, is_function_calling_model=True, **api)
    r = model.chat_with_tools([FunctionTool.from_defaults(look)], user_msg="Where?", tool_required=True)
    assert model.get_tool_calls_from_response(r)[0].tool_name == "look"


@client.call("structured_predict")
def _():
    from llama_index.core.prompts import PromptTemplate

    model = OpenAILike(model=MODEL, is_chat_model=True, should_use_structured_outputs=True, **api)
    assert model.structured_predict(Place, PromptTemplate("Where?")).place in ("sea", "sky")
