"""What transformers marks as the assistant's in conversations, for templates that mark nothing.

TRL has many chat templates twice: as models come with them, and for training, with {% generation %} around what the
assistant says. Where both write the same text, the marks of one are the turns of the other. turns.json: the
conversations, and by template and conversation the marked spans, in characters; those side by side are one.

usage: turns.py TEMPLATES    (the folder of TRL's templates; transformers 4.57.6, jinja2 3.1.6)
"""

import copy
import glob
import json
import os
import sys

from transformers.utils.chat_template_utils import render_jinja_template

# These mark something else than what the server would have the model say: most of them also what its prompt ends with.
OTHERWISE = ("deepseekv3", "diffusion_gemma", "gptoss", "nemotron_3_nano", "nemotron_3_super", "nemotron_3_ultra", "qwen2_5", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6")


def user(text):
    return {"role": "user", "content": text}


def said(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def tool(text):
    return {"role": "tool", "name": "get", "tool_call_id": "abc123def", "content": text}


TOOLS = [{"type": "function", "function": {"name": "get", "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}}}]
CALL = [{"type": "function", "id": "abc123def", "function": {"name": "get", "arguments": {"x": "1"}}}]
CONVERSATIONS = {
    "one": [user("What is"), said("Paris")],
    "two": [user("What is"), said("Paris"), user("one"), said("two")],
    "same": [user("a"), said("a"), user("a"), said("a"), user("a"), said("a")],
    "system": [system("be kind"), user("hi"), said("hello"), user("bye"), said("so long")],
    "thought": [user("hi"), said("<think>\nhm\n</think>\n\nhello"), user("bye"), said("<think>\nok\n</think>\n\nso long")],
    "first": [said("hello"), user("hi"), said("bye")],
    "opened": [system("be kind"), said("hello"), user("hi"), said("bye")],
    "reasoning": [user("hi"), said("hello", reasoning_content="hm"), user("bye"), said("so long", reasoning_content="ok")],
    "spaces": [user(" hi \n"), said("\n hello "), user("bye  "), said("  so long\n")],
    "unicode": [user("héllo 🌳"), said("犬"), user("e\u0301"), said("😀 ok")],
    "tool": [user("hi"), said("", tool_calls=CALL), tool("42"), said("it is 42"), user("thanks"), said("welcome")],
    "tools": [user("hi"), said("let me see", tool_calls=CALL), tool("42"), said("again", tool_calls=CALL), tool("43"), said("it is 43")],
    "tool thought": [user("hi"), said("<think>\nhm\n</think>\n\n", tool_calls=CALL), tool("42"), said("<think>\nyes\n</think>\n\nit is 42"), user("more"), said("ok")],
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def render(template, name, **more):
    tools = TOOLS if name.startswith("tool") else None
    try:
        return render_jinja_template([copy.deepcopy(CONVERSATIONS[name])], tools=tools, chat_template=template, **TOKENS, **more)
    except Exception:
        return None


def joined(spans):
    out = []
    for start, end in spans:
        if out and out[-1][1] == start:
            out[-1][1] = end
        elif start < end:
            out.append([start, end])
    return out


def main(folder):
    turns = {}
    for path in sorted(glob.glob(os.path.join(folder, "*_training.jinja"))):
        name = os.path.basename(path).removesuffix("_training.jinja")
        plain = os.path.join(folder, name + ".jinja")
        if name in OTHERWISE or not os.path.exists(plain):
            continue
        with open(path) as marked, open(plain) as bare:
            marked, bare = marked.read(), bare.read()
        for conversation in CONVERSATIONS:
            got = render(marked, conversation, return_assistant_tokens_mask=True)
            want = render(bare, conversation)
            if got and want and got[0] == want[0] and got[1][0]:
                turns.setdefault(name, {})[conversation] = joined(got[1][0])
    if not turns:
        sys.exit(f"no templates of TRL's in {folder}: turns.json stays as it is")
    out = {"conversations": CONVERSATIONS, "tools": TOOLS, "turns": turns}
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "turns.json"), "w") as f:
        json.dump(out, f)
        f.write("\n")
    print(sum(map(len, turns.values())), "renderings of", len(turns), "templates")


main(sys.argv[1])
