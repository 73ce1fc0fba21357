"""Writes what transformers makes of public chat templates.

    python testdata/templates/goldens.py FOLDER...

with transformers==4.57.6 and Jinja2==3.1.6 on Python 3.11. Every *.jinja file
below the folders that sources.json lists by its digest, and every one beside
this script, is rendered with each of conversations.py by
render_jinja_template, which is what apply_chat_template calls. A template that
no folder holds keeps the results it has, unless the conversations have changed.
README.md says where they come from.

    python testdata/templates/goldens.py --list NAME=FOLDER... > testdata/templates/sources.json

lists the templates of the folders by digest.
"""

import hashlib
import json
import pathlib
import re
import sys
from datetime import datetime as real

from conversations import CONVERSATIONS, NOW, USER, call
from transformers.utils import chat_template_utils as utils

HERE = pathlib.Path(__file__).resolve().parent
CLOCK = "2026-03-07T09:05:02Z"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


class Frozen:
    @staticmethod
    def now():
        return real.fromisoformat(CLOCK.replace("Z", ""))


utils.datetime = Frozen


def digest(data):
    return hashlib.sha256(data).hexdigest()


def render(source, chat):
    """The text and, in characters, where {% generation %} wrote."""
    texts, spans = utils.render_jinja_template(
        conversations=[chat["messages"]], tools=chat.get("tools"), documents=chat.get("documents"), chat_template=source,
        return_assistant_tokens_mask="generation" in source and not chat.get("continue"), continue_final_message=chat.get("continue", False),
        add_generation_prompt=chat.get("generate", False), **TOKENS, **chat.get("variables", {}))
    return texts[0], spans[0] if spans else []


def results(source):
    """A line for each conversation: the first 12 digits of the SHA-256 of the
    text, and the spans; or an exclamation mark and the class of the error."""
    lines = []
    for chat in CONVERSATIONS.values():
        try:
            text, spans = render(source, chat)
        except Exception as e:
            lines.append("!" + type(e).__name__)
        else:
            lines.append(" ".join([digest(text.encode("utf-8"))[:12]] + [f"{start}-{end}" for start, end in spans]))
    return lines


def renders(source, messages):
    """The text of a conversation without tools or with one; None if neither."""
    for tools in [None, [NOW]]:
        try:
            return render(source, {"messages": messages, "tools": tools, "generate": True})[0]
        except Exception:
            pass
    return None


def shows(text):
    """Whether a text has the needle, and not in quotes as Python prints it or
    JSON has it."""
    return text is not None and "needle" in text and "'needle'" not in text and '"needle"' not in text


def takes_parts(source):
    """Whether a template writes the text of a message that comes in parts, as
    text and not as Python prints a list."""
    return shows(renders(source, [{"role": "user", "content": [{"type": "text", "text": "needle"}]}]))


def takes_strings(source):
    """Whether a template writes the arguments of a call that come as a string
    of JSON, and does not those that come as an object, or as Python prints
    them."""
    def text(content, arguments):
        calls = [call("now", arguments, "call00001")]
        return renders(source, [USER, {"role": "assistant", "content": content, "tool_calls": calls}]) or ""
    for content in ["", None]:
        said, printed = text(content, {"needle": 1}), text(content, '{"needle": 1}')
        if "needle" in printed and ("needle" not in said or "{'needle'" in said):
            return True
    return False


def templates(folders):
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*.jinja")):
            if path.is_file():
                yield path, path.read_bytes()


def listing(arguments):
    known = {}
    for argument in arguments:
        name, folder = argument.split("=", 1)
        for path, data in templates([folder]):
            known.setdefault(digest(data), f"{name}/{path.relative_to(folder).with_suffix('').as_posix()}")
    return {name: sha for sha, name in sorted(known.items(), key=lambda item: item[1])}


def compact(goldens):
    """JSON with a template's results on one line each."""
    text = json.dumps(goldens, indent=1, ensure_ascii=False)
    return re.sub(r'(?<="results": )\[[^]]*\]', lambda m: json.dumps(json.loads(m[0])), text) + "\n"


def main():
    sources = json.loads((HERE / "sources.json").read_text(encoding="utf-8"))
    path = HERE / "goldens.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"conversations": None}
    kept = before["templates"] if before["conversations"] == CONVERSATIONS else {}
    found = {digest(data): data for _, data in templates(sys.argv[1:])}
    own = {path.relative_to(HERE).with_suffix("").as_posix(): data for path, data in templates([HERE])}
    after, missing = {}, []
    for name, sha in {**sources, **{n: digest(d) for n, d in own.items()}}.items():
        data = own.get(name) or found.get(sha)
        if data is not None:
            source = data.decode("utf-8")
            after[name] = {"sha256": sha, "parts": takes_parts(source), "strings": takes_strings(source), "results": results(source)}
        elif kept.get(name, {}).get("sha256") == sha:
            after[name] = kept[name]
            missing.append(name)
        else:
            sys.exit(f"no folder holds {name} ({sha})")
    path.write_text(compact({"clock": CLOCK, "tokens": TOKENS, "conversations": CONVERSATIONS, "templates": after}), encoding="utf-8")
    if missing:
        print(f"{len(missing)} of {len(after)} templates are in none of the folders: their results are left as they are", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--list"]:
        json.dump(listing(sys.argv[2:]), sys.stdout, indent=1, ensure_ascii=False)
        print()
    else:
        main()
