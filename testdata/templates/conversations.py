"""The conversations that testdata/templates/goldens.py renders.

Each is what apply_chat_template takes, and stands for a kind.
"""

import json

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a place & \"time\" <now>",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "where, e.g. Zürich"},
                "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                "days": {"type": ["integer", "null"], "maximum": 7},
                "step": {"type": "number", "multipleOf": 0.5},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["place"],
        },
    },
}
NOW = {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}}
TOOLS = [WEATHER, NOW]
# One without types in a list, which send some templates round for ever.
PLAIN = {"type": "function", "function": {"name": "get_weather", "description": "The weather in a place.", "parameters": {
    "type": "object", "properties": {"place": {"type": "string", "description": "where"}, "days": {"type": "integer", "description": "how long"}},
    "required": ["place"]}, "return": {"type": "string", "description": "what it is"}}}

SYSTEM = {"role": "system", "content": " Be brief.\n"}
USER = {"role": "user", "content": "What's the weather in Zürich?"}
ASSISTANT = {"role": "assistant", "content": "Sunny."}
AGAIN = {"role": "user", "content": "And tomorrow?  "}


def call(name, arguments, id):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


CALL = call("get_weather", {"place": "Zürich", "days": 2, "tags": ["a", "b'\"<&>"], "deep": {"x": [1, 2.5, None, True, 1e-7, 1e22, 12345678901234567890]}}, "call00001")
WHEN = call("now", {}, "call00002")
RESULT = {"role": "tool", "content": "{\"sky\": \"clear\"}", "name": "get_weather", "tool_call_id": "call00001"}
NOON = {"role": "tool", "content": "noon", "name": "now", "tool_call_id": "call00002"}


def part(text):
    return {"type": "text", "text": text}


def parts(message, *texts):
    return {**message, "content": [part(t) for t in texts]}


# The keys: messages; generate (add_generation_prompt), continue
# (continue_final_message), tools, documents, and variables, all optional.
CONVERSATIONS = {
    "user": {"messages": [USER], "generate": True},
    "no generation prompt": {"messages": [USER]},
    "system": {"messages": [SYSTEM, USER], "generate": True},
    "system alone": {"messages": [SYSTEM], "generate": True},
    "turns": {"messages": [USER, ASSISTANT, AGAIN], "generate": True},
    "system and turns": {"messages": [SYSTEM, USER, ASSISTANT, AGAIN, {"role": "assistant", "content": " Rain,\n\n  I think. "}]},
    "tools": {"messages": [USER], "tools": TOOLS, "generate": True},
    "system and tools": {"messages": [SYSTEM, USER], "tools": TOOLS, "generate": True},
    "plain tools": {
        "messages": [SYSTEM, USER, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"place": "Bern"}, "call00001")]}, RESULT],
        "tools": [PLAIN], "generate": True,
    },
    "null content": {
        "messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT],
        "tools": TOOLS, "generate": True,
    },
    "empty content": {
        "messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT],
        "tools": TOOLS, "generate": True,
    },
    "absent content": {
        "messages": [USER, {"role": "assistant", "tool_calls": [CALL]}, RESULT, {"role": "assistant", "content": "Clear."}],
        "tools": TOOLS,
    },
    "two calls": {
        "messages": [SYSTEM, USER, {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL, WHEN]}, RESULT, NOON,
                     {"role": "assistant", "content": "Clear until noon."}, AGAIN],
        "tools": TOOLS, "generate": True,
    },
    "calls without tools": {
        "messages": [USER, {"role": "assistant", "content": "", "tool_calls": [WHEN]}, NOON, {"role": "assistant", "content": "Noon."}],
    },
    "string arguments": {
        "messages": [USER, {"role": "assistant", "content": None, "tool_calls": [
            call("get_weather", '{"place": "Zürich",  "days": 2}', "call00001"), call("now", "{}", "call00002")]}, RESULT, NOON],
        "tools": TOOLS, "generate": True,
    },
    "null calls": {"messages": [USER, {**ASSISTANT, "tool_calls": None}, AGAIN], "generate": True},
    "null answer": {"messages": [USER, {"role": "assistant", "content": None}, AGAIN], "generate": True},
    "reasoning": {
        "messages": [USER, {"role": "assistant", "content": "Sunny.", "reasoning_content": "It is\nsummer.\n"}, AGAIN,
                     {"role": "assistant", "reasoning_content": "Fronts come.", "content": "Rain."}],
    },
    "reasoning and calls": {
        "messages": [USER, {"role": "assistant", "content": "", "reasoning_content": "I look.", "tool_calls": [CALL]}, RESULT],
        "tools": TOOLS, "generate": True,
    },
    "thinking in content": {
        "messages": [USER, {"role": "assistant", "content": "<think>\nhm </think> a\n</think>\n\nSunny."}, AGAIN], "generate": True,
    },
    "thinking key": {"messages": [USER, {**ASSISTANT, "thinking": "It is summer."}, AGAIN], "generate": True},
    "no thinking": {"messages": [SYSTEM, USER], "generate": True, "variables": {"enable_thinking": False, "thinking": False}},
    "variables": {
        "messages": [SYSTEM, USER], "tools": TOOLS, "generate": True,
        "variables": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high", "date_string": "26 Jul 2024",
                      "model_identity": "You are a test.", "builtin_tools": ["python"], "custom_tools": [NOW],
                      "preserve_thinking": True, "clear_thinking": False, "tools_in_user_message": False, "controls": {"a": 1}},
    },
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, USER], "generate": True},
    "later system": {"messages": [USER, ASSISTANT, SYSTEM, AGAIN], "generate": True},
    "consecutive users": {"messages": [USER, AGAIN, ASSISTANT, ASSISTANT, USER], "generate": True},
    "assistant first": {"messages": [ASSISTANT, USER], "generate": True},
    "tool result first": {"messages": [RESULT, USER], "generate": True},
    "unknown role": {"messages": [{"role": "critic", "content": "no"}, USER], "generate": True},
    "no messages": {"messages": [], "generate": True},
    "empty texts": {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}]},
    "parts": {"messages": [parts(USER, "What's the weather", "in Zürich?")], "generate": True},
    "parts everywhere": {
        "messages": [parts(SYSTEM, "Be brief."), parts(USER, "a", "b"), parts(ASSISTANT, "c\n", "d"), parts(AGAIN, "e")], "generate": True,
    },
    "parts of a result": {
        "messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, parts(RESULT, "clear", "sky")],
        "tools": TOOLS, "generate": True,
    },
    "no parts": {"messages": [{"role": "user", "content": []}], "generate": True},
    "documents": {
        "messages": [SYSTEM, USER], "generate": True,
        "documents": [{"title": "Zürich", "text": "It rains\nin <June>."}, {"title": "Bern", "text": "Dry.", "doc_id": 7}],
    },
    "unicode": {
        "messages": [{"role": "system", "content": "\u00e9\u0301 \u200b\u2028 \U0001f469\u200d\U0001f680 \u05e9\u05dc\u05d5\u05dd \u0130\u00df"},
                     {"role": "user", "content": "\r\na\rb\x85\x0b\x1c\u3000 <|im_end|> {{ x }} {% y %} [INST]\t"},
                     {"role": "assistant", "content": "\u00a0\ufeff\U0001f600\u3000"}, {"role": "user", "content": "\\n \\u00e9 '\"`"}],
        "generate": True,
    },
    "names": {"messages": [{**USER, "name": "ann"}, {**ASSISTANT, "name": "bot", "id": "m1"}, {**AGAIN, "name": "ann"}], "generate": True},
    "long": {
        "messages": [m for i in range(12) for m in ({"role": "user", "content": f"{i}? " * 8}, {"role": "assistant", "content": f"{i}! " * 8})],
    },
    "continue": {"messages": [USER, {"role": "assistant", "content": "Sunny, "}], "continue": True},
    "continue parts": {"messages": [USER, parts(ASSISTANT, "Sun", "ny, ")], "continue": True},
}


def joined(message):
    """The message with the texts of its parts joined by line breaks: what a
    template gets that has no eye for parts."""
    if isinstance(message.get("content"), list):
        return {**message, "content": "\n".join(part["text"] for part in message["content"])}
    return message


def parsed(message):
    """The message with the arguments of its calls as objects: what a template
    gets unless it takes them as a string of JSON alone."""
    if not message.get("tool_calls"):
        return message

    def function(f):
        return {**f, "arguments": json.loads(f["arguments"])} if isinstance(f["arguments"], str) else f
    return {**message, "tool_calls": [{**c, "function": function(c["function"])} for c in message["tool_calls"]]}


for name, chat in list(CONVERSATIONS.items()):
    for change in [joined, parsed]:
        changed = {**chat, "messages": [change(m) for m in chat["messages"]]}
        if changed != chat:
            CONVERSATIONS[f"{name}, {change.__name__}"] = changed
