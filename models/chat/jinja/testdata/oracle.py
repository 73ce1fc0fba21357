"""Renders templates as transformers does: the oracle of this folder's goldens."""

import copy
import re
import warnings

import jinja2
import jinja2.meta
from transformers.utils.chat_template_utils import _compile_jinja_template, _render_with_assistant_indices

warnings.simplefilter("ignore")
ADDRESS = re.compile(r" at 0x[0-9a-f]+|<class '|<function |<built-in|<slot wrapper|<property object|<module|<member|<attribute")


def versions():
    import platform
    import transformers

    return f"jinja2 {jinja2.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"


def kind(error):
    """The class of an error, and the line where it is one of syntax."""
    name = type(error).__name__
    if isinstance(error, jinja2.TemplateSyntaxError):
        return {"error": "SyntaxError", "line": error.lineno}
    if isinstance(error, (SyntaxError, AssertionError)):  # of the Python that Jinja writes, or of names that it lacks
        return {"error": "SyntaxError"}
    return {"error": name}


def names(source):
    """The variables that a template reads, but for those of transformers."""
    environment = _compile_jinja_template("").environment
    return sorted(jinja2.meta.find_undeclared_variables(environment.parse(source)))


def render(source, variables):
    """The output and the spans of generation blocks, or the kind of error."""
    try:
        template = _compile_jinja_template(source)
    except Exception as e:
        return kind(e)
    try:
        return render_compiled(template, variables)
    except Exception as e:
        return {"error": type(e).__name__}


def render_compiled(template, variables):
    rest = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": False} | variables
    rest = copy.deepcopy(rest)  # some filters change what they are given
    text, spans = _render_with_assistant_indices(compiled_template=template, **rest)
    result = {"output": text}
    if spans:
        result["spans"] = spans
    return result
