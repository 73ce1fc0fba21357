"""What the files of calls share: each call of a client is a function that fails where
the answer is not what it should be, and is one line of JSON on standard output."""

import importlib.metadata
import json
import os
import traceback

BASE = os.environ["PEFT_SERVE"]  # http://127.0.0.1:PORT
URL = BASE + "/v1"
MODEL = "gutenberg"  # the base that is built in
ADAPTER = "json"  # an adapter on it
TOOLS = "tools"  # the same with a chat template that has a place for tools
PROMPT = "Input: Please book a table for six at the Red Fox on Sunday at 8 pm.\nOutput:"
SCHEMA = {
    "type": "object",
    "properties": {"place": {"enum": ["sea", "sky"]}, "many": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["place", "many"],
    "additionalProperties": False,
}
FUNCTION = {"name": "look", "description": "Look somewhere", "parameters": SCHEMA}


class Client:
    def __init__(self, distribution):
        self.name = distribution
        self.version = importlib.metadata.version(distribution)

    def call(self, what):
        """Runs the function at once."""

        def run(function):
            fault = None
            try:
                function()
            except BaseException as e:  # noqa: BLE001
                if os.environ.get("VERBOSE"):
                    traceback.print_exc()
                fault = f"{type(e).__name__}: {e}".split("\n")[0][:300]
            print(json.dumps({"client": f"{self.name} {self.version}", "call": what, "fault": fault}), flush=True)

        return run


def valid(text):
    """The value of a text that was kept to SCHEMA."""
    value = json.loads(text)
    assert list(value) == ["place", "many"] and value["place"] in ("sea", "sky") and 0 <= value["many"] <= 9, text
    return value
