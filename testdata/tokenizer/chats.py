"""Writes the golden data of models/chat.

    python testdata/tokenizer/chats.py ../shared [more-templates out.json]

with transformers==4.57.6 and Jinja2==3.1.6 on Python 3.11. The first argument
is a folder with tokenizers/qwen3/tokenizer_config.json. With two more, the
templates (*.jinja) of another folder are rendered into another file, for a
check that is not committed.
"""

import json
import pathlib
import sys
from datetime import datetime as real

from transformers.utils import chat_template_utils as utils

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(sys.argv[1])
NOW = "2026-03-07T09:05:02Z"


class Frozen:
    @staticmethod
    def now():
        return real.fromisoformat(NOW.replace("Z", ""))


utils.datetime = Frozen

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LLAMA3_LIKE = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- endif %}
{%- endif %}
{#- The system message moves to the front, with a | tojson in a comment. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" }}
{%- if tools %}
    {{- "You may call these. Do not write 'x | tojson' yourself.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" + (message.content | tojson) + "<|eot_id|>" }}
    {%- elif message.tool_calls %}
        {%- if message.tool_calls | length != 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments|tojson }}
        {{- "}<|eot_id|>" }}
    {%- elif message.role in ['user', 'assistant'] %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- else %}
        {{- raise_exception("Unknown role " + message.role) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# Tags on lines of their own: trim_blocks and lstrip_blocks take the lines.
BLOCKS = """{% for message in messages %}
    {% if message.role == "user" %}
[INST] {{ message.content }} [/INST]
    {% else %}
{{ message.content }}{{ eos_token }}
    {% endif %}
{% endfor %}
{{ {"a": 1, "b": [1.0, 0.00001, 123456789.5, true, none, "\\u00e9<&>'\\n"]} | tojson }}
{{ tools | tojson(indent=2) if tools else "no tools" }}
"""

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather in a place & \"time\" <now>",
     "parameters": {"type": "object", "properties": {
         "place": {"type": "string", "description": "where, e.g. Zürich"},
         "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
         "days": {"type": "integer", "maximum": 7}, "step": {"type": "number", "multipleOf": 0.5}},
         "required": ["place"]}}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
]

USER = {"role": "user", "content": "What's the weather in Zürich?"}
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2, "a": [1, 2.5, None]}}}]}
TWO = {"role": "assistant", "content": "Let me see.", "tool_calls": CALL["tool_calls"] + [
    {"id": "call00002", "type": "function", "function": {"name": "now", "arguments": {}}}]}
ANSWER = {"role": "tool", "content": "{\"sky\": \"clear\"}", "name": "get_weather", "tool_call_id": "call00001"}

CHATS = [
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"messages": [{"role": "user", "content": "Hi"}], "generate": True},
    {"messages": [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "Hi  "},
                  {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "<|im_end|> {{ x }} é"}], "generate": True},
    {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"},
                  {"role": "user", "content": "sure?"}, {"role": "assistant", "content": "yes", "reasoning_content": "it is 4"}]},
    {"messages": [{"role": "user", "content": "Hi"}], "generate": True, "variables": {"enable_thinking": False}},
    {"messages": [USER], "tools": TOOLS, "generate": True},
    {"messages": [{"role": "system", "content": "Use tools."}, USER, CALL, ANSWER], "tools": TOOLS, "generate": True},
    {"messages": [USER, TWO, ANSWER, {"role": "tool", "content": "noon", "name": "now", "tool_call_id": "call00002"},
                  {"role": "assistant", "content": "Clear until noon."}], "tools": TOOLS},
    {"messages": [{"role": "critic", "content": "no"}]},
]


def render(source):
    results = []
    for chat in CHATS:
        try:
            results.append({"prompt": utils._compile_jinja_template(source).render(
                messages=chat["messages"], tools=chat.get("tools"), documents=None,
                add_generation_prompt=chat.get("generate", False), bos_token="<s>", eos_token="</s>", **chat.get("variables", {}))})
        except utils.jinja2.exceptions.TemplateError as e:
            results.append({"error": str(e)})
        except TypeError as e:
            results.append({"error": "TypeError"})
    return {"source": source, "results": results}


def write(path, templates):
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"now": NOW, "chats": CHATS, "templates": templates}, f, indent=1, ensure_ascii=False)
        f.write("\n")


qwen3 = json.loads((SHARED / "tokenizers/qwen3/tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
write(ROOT / "models/chat/testdata/goldens.json",
      {"smollm2": render(SMOLLM2), "qwen3": render(qwen3), "llama3-like": render(LLAMA3_LIKE), "blocks": render(BLOCKS)})
if len(sys.argv) > 3:
    write(sys.argv[3], {p.stem: render(p.read_text(encoding="utf-8")) for p in sorted(pathlib.Path(sys.argv[2]).glob("*.jinja"))})
