"""Draws templates from a grammar over all statements, filters, tests, methods and
types of values, and writes what Jinja2 makes of each as transformers runs it:

    python differential.py OUT COUNT SEED

Each line of OUT is a template with its output or its error; the first line has
the variables of all. A long run:

    python differential.py /tmp/d.jsonl 200000 7
    JINJA_DIFFERENTIAL=/tmp/d.jsonl go test -run TestDifferential ./models/chat/jinja
"""

import json
import random
import signal
import subprocess
import sys

import oracle

VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi there"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": {"x": 1, "y": [1.5, None, True]}}}]},
        {"role": "tool", "content": "{\"t\": 3}", "name": "f"},
        {"role": "assistant", "content": "<think>\nwhy\n</think>\n\nso ü 漢 <b>"},
    ],
    "s": "Hello, World", "u": "straße ΑΣ ﬁ é漢😀", "ws": " a  b\tc\n\nd ", "e": "", "num": "42.5",
    "n": 7, "z": 0, "neg": -3, "big": 2**70, "f": 2.5, "g": -0.125, "h": 1e20,
    "yes": True, "no": False, "nil": None,
    "xs": [3, 1, 2], "fs": [1, 2.5, True], "es": [], "ss": ["b", "A", "c", "a", "B"], "mix": [1, "a", None, [2], {"k": 1}],
    "d": {"b": 1, "a": 2, "items": 3, "_p": 4, "C": 0}, "ed": {}, "dd": {"k": {"x": [1, {"y": "z"}]}, "1": "one"},
    "rows": [{"name": "Ann", "age": 31, "city": "Rome"}, {"name": "bob", "age": 27, "city": "rome"}, {"name": "Cid", "age": 31}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}]}, {"v": 3, "c": []}],
}
BY_TYPE = {
    "str": ["s", "u", "ws", "e", "num", "messages[1].content", "messages[4]['content']", "rows[0].name", "loop_s"],
    "int": ["n", "z", "neg", "big", "xs[0]", "d.a", "rows[0].age"],
    "float": ["f", "g", "h"],
    "bool": ["yes", "no"],
    "list": ["xs", "fs", "es", "ss", "mix", "rows", "messages", "tree"],
    "dict": ["d", "ed", "dd", "messages[2]", "rows[1]"],
    "none": ["nil", "messages[2].content"],
    "undefined": ["missing", "d.nope", "rows[2].city", "xs[9]"],
}
TYPES = list(BY_TYPE)
STRINGS = ["a", "", " ", "ab", "b", "o", ", ", "\\n", "x\\ty", "é", "漢", "ß", "1", "12", " 7 ", "-4", "1e2", "0x1f", "A b", "%s", "%d|%5s", "{}", "{0}-{1}", "{:>6}", "l", "</think>", "role", "name", "it's", 'q\\"', "\\\\", "k.x", "<b>&", "İ", "Σ", "\\u2028", "\\x00", "word " * 5]
TESTS0 = ["odd", "even", "defined", "undefined", "none", "boolean", "false", "true", "integer", "float", "lower", "upper", "string", "mapping", "number", "sequence", "iterable", "callable", "escaped", "filter", "test"]
TESTS1 = ["divisibleby", "sameas", "in", "eq", "equalto", "ne", "lt", "lessthan", "gt", "greaterthan", "ge", "le"]
STR_METHODS = {
    "str": ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "casefold()", "strip()", "lstrip()", "rstrip()", "strip({s})", "lstrip({s})", "rstrip({s})", "replace({s}, {s})", "replace({s}, {s}, {i})", "center({w})", "ljust({w}, '*')", "rjust({w})", "zfill({w})", "expandtabs()", "expandtabs({i})", "removeprefix({s})", "removesuffix({s})", "join({l})", "join({s})", "format({a}, {a})", "format({a}, k={a})"],
    "list": ["split()", "split({s})", "split({s}, {i})", "rsplit({s}, {i})", "split(none, {i})", "rsplit(none, {i})", "splitlines()", "splitlines(true)", "partition({s})", "rpartition({s})"],
    "int": ["find({s})", "rfind({s})", "count({s})", "find({s}, {i})", "count({s}, {i}, {i})", "index({s})", "rindex({s})"],
    "bool": ["startswith({s})", "endswith({s})", "startswith(({s}, {s}))", "startswith({s}, {i})", "endswith({s}, {i}, {i})", "isalpha()", "isdigit()", "isalnum()", "isspace()", "islower()", "isupper()", "istitle()", "isdecimal()", "isnumeric()", "isidentifier()", "isascii()", "isprintable()"],
}
STR_FILTERS = {
    "str": ["upper", "lower", "title", "capitalize", "trim", "trim({s})", "replace({s}, {s})", "replace({s}, {s}, {i})", "center({w})", "indent", "indent({i})", "indent({i}, true)", "indent({s}, blank=true)", "truncate({w})", "truncate({w}, true)", "truncate({w}, false, {s}, {i})", "e", "escape", "forceescape", "safe", "striptags", "urlencode", "string", "format({a})", "reverse", "wordwrap({w})", "wordwrap({w}, false)", "urlize", "pprint", "default({a})", "default({a}, true)", "tojson", "tojson(ensure_ascii=true)"],
    "int": ["length", "count", "wordcount", "int", "int({i})", "int(base={i})"],
    "float": ["float", "float({f})", "float({a})"],
    "any": ["first", "last", "attr({s})", "default({a})"],
    "list": ["list", "unique|list", "batch({i})|list", "slice({i})|list", "sort", "map('upper')|list"],
}
LIST_FILTERS = {
    "int": ["length", "count", "sum", "sum(start={i})"],
    "any": ["first", "last", "min", "max", "min(true)", "sum", "min(attribute='age')", "max(attribute={s})", "random"],
    "str": ["join", "join({s})", "join({s}, attribute='name')", "string", "tojson", "tojson(indent={i})", "tojson(separators=(',', ':'))", "pprint", "urlencode"],
    "list": ["list", "sort", "sort(true)", "sort(case_sensitive=true)", "sort(attribute='age')", "sort(attribute='age,name', reverse=true)", "unique|list", "unique(true)|list", "reverse|list", "batch({i})|list", "batch({i}, {a})|list", "slice({i})|list", "slice({i}, {a})|list", "map('string')|list", "map('upper')|list", "map('int')|list", "map('default', {a})|list", "map(attribute='name')|list", "map(attribute={s}, default={a})|list", "map(attribute={i})|list", "map({s})|list", "select|list", "reject|list", "select({t0})|list", "reject({t0})|list", "select({t1}, {a})|list", "selectattr('name')|list", "selectattr('age', 'gt', {i})|list", "selectattr({s}, {t0})|list", "rejectattr({s})|list", "rejectattr('city', 'defined')|list", "selectattr('role', 'equalto', {s})|list", "groupby('age')", "groupby('city')", "groupby({s})", "groupby('city', default={s})", "map('length')|list", "map('join', {s})|list", "map('first')|list"],
}
DICT_FILTERS = {
    "str": ["tojson", "tojson(sort_keys=true)", "tojson(indent={i}, sort_keys=true)", "string", "xmlattr", "urlencode", "pprint", "join({s})"],
    "int": ["length", "count"],
    "list": ["dictsort", "dictsort(true)", "dictsort(false, 'value')", "dictsort(reverse=true)", "list", "items|list", "sort", "reverse|list"],
    "any": ["first", "last", "attr({s})", "default({a})"],
}
DICT_METHODS = {"any": ["get({s})", "get({s}, {a})", "get({a})"], "list": ["keys()|list", "values()|list", "items()|list", "keys()", "values()", "items()"], "dict": ["copy()"], "str": ["update({{}})", "pop({s})", "clear()"]}
LIST_METHODS = {"int": ["index({a})", "count({a})", "index({a}, {i})"], "list": ["copy()"], "none": ["append({a})", "sort()", "pop()"]}
NUM_FILTERS = {"int": ["abs", "int", "round|int"], "float": ["round", "round({i})", "round({i}, 'floor')", "round({i}, 'ceil')", "float"], "str": ["string", "filesizeformat", "filesizeformat(true)", "tojson", "urlencode", "title", "upper", "center({i})"]}
PERCENT = ["%s", "%d", "%5d", "%-6s|", "%05.1f", "%x", "%X", "%o", "%e", "%g", "%r", "%a", "%%", "%c", "%+d", "% d", "%.2s", "%(b)s", "%(a)5d", "%i %s", "%*d", "%#x", "%.3d", "%.0f", "%G"]
SPECS = ["", ">6", "<6", "^7", "*^7", "05d", "+d", ",", "_", "x", "#x", "b", "o", "c", "e", ".2f", ".3", "%", "g", "08.3f", "=+8", ",.2f", " d", "#o", "X", "n", "010,", "s", "5", ".0f", "E", "_x", "z.1f", "<08", "+.3e", "#g", ".10g", "06,.1f"]


class Grammar:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.names = []  # that the template set
        self.macros = []
        self.loops = 0

    def pick(self, xs):
        return self.r.choice(xs)

    def chance(self, p):
        return self.r.random() < p

    def string(self):
        return "'" + self.pick(STRINGS).replace("'", "\\'") + "'"

    def fill(self, shape, depth):
        """A shape with its holes filled."""
        out = []
        i = 0
        while i < len(shape):
            for hole, make in (
                ("{s}", lambda: self.string() if self.chance(0.8) else self.expr("str", depth - 1)),
                ("{i}", lambda: str(self.r.randint(-2, 6)) if self.chance(0.85) else self.expr("int", depth - 1)),
                ("{w}", lambda: str(self.r.randint(0, 14))),
                ("{f}", lambda: self.expr("float", 0)),
                ("{l}", lambda: self.expr("list", depth - 1)),
                ("{a}", lambda: self.expr("any", depth - 1)),
                ("{t0}", lambda: repr(self.pick(TESTS0))),
                ("{t1}", lambda: repr(self.pick(TESTS1 + ["==", ">", "<=", "!="]))),
            ):
                if shape.startswith(hole, i):
                    out.append(make())
                    i += len(hole)
                    break
            else:
                if shape.startswith("{{", i) or shape.startswith("}}", i):
                    i += 1
                out.append(shape[i])
                i += 1
        return "".join(out)

    def atom(self, t):
        if t == "any":
            t = self.pick(TYPES)
        if self.names and self.chance(0.15):
            return self.pick(self.names)
        if self.loops and self.chance(0.1):
            return self.pick(["x", "x", "loop.index", "loop.index0", "loop.first", "loop.last", "loop.length", "loop.revindex", "loop.previtem", "loop.nextitem", "loop.depth", "loop.cycle(1, 'b')", "loop.changed(x)", "y"])
        if t == "str" and self.chance(0.5):
            return self.string()
        if t == "int" and self.chance(0.6):
            return str(self.r.randint(0, 9)) if self.chance(0.8) else self.pick(["1_000", "0x1f", "0b11", "0o17", "123456789012345678901"])
        if t == "float" and self.chance(0.6):
            return self.pick(["1.5", "0.1", "2e3", "1e-7", "3.0", "1_0.5", "1e16", "123456.789", "0.5", "2.675"])
        if t == "bool" and self.chance(0.4):
            return self.pick(["true", "false", "True"])
        if t == "none":
            return self.pick(["none", "None"] + BY_TYPE["none"])
        name = self.pick(BY_TYPE[t])
        return "s" if name == "loop_s" else name

    def post(self, kinds, value, depth):
        """A filter or method of a table {result type: shapes} on a value."""

    def expr(self, t, depth):
        if t != "any" and self.chance(0.06):
            t = "any"
        if t == "any":
            t = self.pick(TYPES)
        if depth <= 0 or self.chance(0.15):
            return self.atom(t)
        r = self.r.random()
        if r < 0.05:
            return f"({self.expr(t, depth - 1)} if {self.expr('bool', depth - 1)} else {self.expr(t, depth - 1)})"
        if r < 0.08:
            return f"({self.expr(t, depth - 1)} {self.pick(['or', 'and'])} {self.expr(t, depth - 1)})"
        if r < 0.1:
            return f"{self.operand(t, depth)}|default({self.expr(t, depth - 1)})"
        if r < 0.12:
            return f"({self.expr(t, depth - 1)} if {self.expr('bool', depth - 1)})"
        return getattr(self, "expr_" + t)(depth)

    def operand(self, t, depth):
        e = self.expr(t, depth - 1)
        return e if e.replace("_", "").isalnum() and not e[0].isdigit() or e[0] in "'[(" and e[-1] in "'])" and " " not in e else f"({e})"

    def from_table(self, depth, *tables):
        """Applies what a table has for a type of result."""
        source, table, op, result = self.pick(tables)
        shapes = table.get(result) or self.pick(list(table.values()))
        return self.operand(source, depth) + op + self.fill(self.pick(shapes), depth)

    def expr_str(self, depth):
        r = self.r.random()
        if r < 0.15:
            return f"{self.operand('str', depth)} {self.pick(['+', '~', '~'])} {self.operand(self.pick(['str', 'str', 'any']), depth)}"
        if r < 0.2:
            return f"{self.operand('str', depth)} * {self.r.randint(-1, 3)}"
        if r < 0.28:
            return self.pick(BY_TYPE["str"][:7] + self.names) + self.slice(depth)
        if r < 0.36:
            shape = self.pick(PERCENT) + self.pick(["", " ", "-"]) + self.pick(["", self.pick(PERCENT)])
            args = self.pick([self.operand("any", depth), f"({self.expr('any', 0)}, {self.expr('any', 0)})", f"({self.expr('any', depth - 1)},)", "d"])
            return f"'{shape}' % {args}"
        if r < 0.44:
            shape = "{:" + self.pick(SPECS) + "}" + self.pick(["", "{!r}", "{0}", "{k}", "{!s:>5}", "{0[0]}", "{k.real}"])
            return f"'{shape}'.format({self.expr(self.pick(['int', 'float', 'str', 'any']), depth - 1)}, {self.expr('any', 0)}, k={self.expr('any', 0)})"
        return self.from_table(depth, ("str", STR_METHODS, ".", "str"), ("str", STR_FILTERS, "|", "str"), ("str", STR_FILTERS, "|", "str"), ("list", LIST_FILTERS, "|", "str"), ("dict", DICT_FILTERS, "|", "str"), ("any", STR_FILTERS, "|", "str"), ("float", NUM_FILTERS, "|", "str"), ("int", NUM_FILTERS, "|", "str"), ("any", {"str": ["string", "tojson", "e", "pprint", "upper", "trim"]}, "|", "str"))

    def slice(self, depth):
        part = lambda: self.pick(["", "", str(self.r.randint(-4, 5)), self.expr("int", 0)])
        return f"[{part()}:{part()}]" if self.chance(0.7) else f"[{part()}:{part()}:{part()}]"

    def expr_int(self, depth):
        r = self.r.random()
        if r < 0.3:
            return f"{self.operand('int', depth)} {self.pick(['+', '-', '*', '//', '%'])} {self.operand('int', depth)}"
        if r < 0.34:
            return f"{self.operand('int', depth)} ** {self.r.randint(-1, 4)}"
        if r < 0.4:
            return f"{self.pick(['-', '+'])}{self.operand('int', depth)}"
        if r < 0.43:
            return self.operand("int", depth) + self.pick([".real", ".imag", ".numerator", ".denominator", ".bit_length()", ".conjugate()", ".nope"])
        return self.from_table(depth, ("str", STR_METHODS, ".", "int"), ("str", STR_FILTERS, "|", "int"), ("list", LIST_FILTERS, "|", "int"), ("dict", DICT_FILTERS, "|", "int"), ("list", LIST_METHODS, ".", "int"), ("float", NUM_FILTERS, "|", "int"), ("any", STR_FILTERS, "|", "int"))

    def expr_float(self, depth):
        if self.chance(0.5):
            return f"{self.operand(self.pick(['float', 'int']), depth)} {self.pick(['+', '-', '*', '/', '//', '%'])} {self.operand('float', depth)}"
        if self.chance(0.2):
            return f"{self.operand('float', depth)} ** {self.r.randint(0, 3)}"
        return self.from_table(depth, ("float", NUM_FILTERS, "|", "float"), ("int", NUM_FILTERS, "|", "float"), ("str", STR_FILTERS, "|", "float"))

    def expr_bool(self, depth):
        r = self.r.random()
        if r < 0.3:
            return f"{self.operand('any', depth)} is {self.pick(['', 'not '])}{self.pick(TESTS0)}"
        if r < 0.4:
            return f"{self.operand('any', depth)} is {self.pick(['', 'not '])}{self.pick(TESTS1)}({self.expr('any', depth - 1)})"
        if r < 0.6:
            t = self.pick(["str", "int", "float", "list", "any"])
            return f"{self.operand(t, depth)} {self.pick(['==', '!=', '<', '>', '<=', '>='])} {self.operand(t, depth)}"
        if r < 0.66:
            return f"{self.operand('int', depth)} < {self.operand('int', depth)} {self.pick(['<', '==', '!=', '>='])} {self.operand('any', depth)}"
        if r < 0.8:
            return f"{self.operand('any', depth)} {self.pick(['in', 'not in'])} {self.operand(self.pick(['list', 'dict', 'str']), depth)}"
        if r < 0.87:
            return f"not {self.operand('any', depth)}"
        return self.from_table(depth, ("str", STR_METHODS, ".", "bool"))

    def expr_list(self, depth):
        r = self.r.random()
        if r < 0.2:
            items = ", ".join(self.expr("any", depth - 1) for _ in range(self.r.randint(0, 4)))
            return f"[{items}]" if self.chance(0.8) else f"({items}{',' if items else ''})"
        if r < 0.26:
            return f"{self.operand('list', depth)} + {self.operand('list', depth)}"
        if r < 0.36:
            return self.pick(BY_TYPE["list"] + self.names + ["range(5)", "d", "missing"]) + self.slice(depth)
        if r < 0.42:
            return f"range({self.pick(['', str(self.r.randint(-2, 3)) + ', '])}{self.expr('int', 0)}){self.pick(['', '|list', '|list'])}"
        if r < 0.45:
            return f"{self.operand('list', depth)} * {self.r.randint(-1, 2)}"
        return self.from_table(depth, ("list", LIST_FILTERS, "|", "list"), ("list", LIST_FILTERS, "|", "list"), ("str", STR_METHODS, ".", "list"), ("str", STR_FILTERS, "|", "list"), ("dict", DICT_FILTERS, "|", "list"), ("dict", DICT_METHODS, ".", "list"), ("list", LIST_METHODS, ".", "list"))

    def expr_dict(self, depth):
        if self.chance(0.6):
            items = ", ".join(f"{self.expr(self.pick(['str', 'str', 'str', 'int', 'any']), 0)}: {self.expr('any', depth - 1)}" for _ in range(self.r.randint(0, 3)))
            return "{" + items + "}"
        if self.chance(0.5):
            return f"dict({self.pick(['', 'd, ', '[(1, 2)], '])}a={self.expr('any', depth - 1)})"
        return self.operand("dict", depth) + "." + self.fill(self.pick(DICT_METHODS["dict"]), depth)

    def expr_none(self, depth):
        return self.from_table(depth, ("list", LIST_METHODS, ".", "none"), ("dict", DICT_METHODS, ".", "any"), ("dict", DICT_METHODS, ".", "str"))

    def expr_undefined(self, depth):
        r = self.r.random()
        if r < 0.4:
            return f"{self.operand('any', depth)}.{self.pick(['nope', 'x', 'name', 'a', '__class__', '_p', 'items', 'real', 'k', 'upper', '0', 'role'])}"
        if r < 0.8:
            return f"{self.operand(self.pick(['list', 'dict', 'str', 'any']), depth)}[{self.expr(self.pick(['int', 'str', 'any']), depth - 1)}]"
        return self.from_table(depth, ("list", LIST_FILTERS, "|", "any"), ("str", STR_FILTERS, "|", "any"), ("dict", DICT_FILTERS, "|", "any"))

    # Statements.

    def tag(self, inner):
        begin, end = self.pick(["", "", "", "-", "+"]), self.pick(["", "", "", "-", "+"])
        return "{%" + begin + self.pick([" ", " ", ""]) + inner + " " + end + "%}"

    def text(self):
        return self.pick(["", "", "a", " ", "\n", "  \n", "\n  ", " b ", "\n\n", "\t", "x\n y ", "漢 ", "{ ", "}", "%", "#", "\r\n", "<|im_start|>"])

    def output(self, depth):
        begin, end = self.pick(["", "", "-", "+"]), self.pick(["", "", "-"])
        e = self.expr("any", depth)
        if begin == "+" and e[0] in "+-":
            begin = ""
        return "{{" + begin + " " + e + " " + end + "}}"

    def name(self):
        return self.pick(["p", "q", "t"])

    def body(self, depth, n=3):
        return "".join(self.text() + self.statement(depth - 1) for _ in range(self.r.randint(1, n))) + self.text()

    def scoped(self, depth, **changes):
        names, loops = list(self.names), self.loops
        self.loops = changes.get("loops", loops)
        body = self.body(depth)
        self.names, self.loops = names, loops
        return body

    def statement(self, depth):
        r = self.r.random()
        if depth <= 0 or r < 0.35:
            return self.output(self.r.randint(1, 3))
        if r < 0.5:
            e = self.tag("else") + self.body(depth, 1) if self.chance(0.4) else ""
            elif_ = self.tag("elif " + self.expr("any", 1)) + self.body(depth, 1) if self.chance(0.3) else ""
            return self.tag("if " + self.expr("bool", 2)) + self.body(depth, 2) + elif_ + e + self.tag("endif")
        if r < 0.66:
            return self.loop(depth)
        if r < 0.78:
            return self.set(depth)
        if r < 0.83:
            name = self.name()
            return self.tag(f"with {name} = {self.expr('any', 2)}, v = {self.expr('any', 1)}") + self.scoped(depth) + self.tag("endwith")
        if r < 0.87:
            f = self.pick(["upper", "lower", "trim", "indent(2)", "replace('a', 'b')", "length", "list", "title|trim", "e", "tojson"])
            return self.tag("filter " + f) + self.scoped(depth) + self.tag("endfilter")
        if r < 0.94:
            return self.macro(depth)
        if r < 0.96:
            return self.tag("generation") + self.scoped(depth, loops=0) + self.tag("endgeneration")
        if r < 0.97:
            return self.pick(["{% raw %} {{ x }} {% endraw %}", "{%- raw -%} {% if %} {%- endraw -%}", "{# c #}", "{#- c -#}", "{#+ c +#}", "{# a\n b #}"])
        if r < 0.98:
            return self.tag(f"set ns = namespace(a={self.expr('any', 1)})") + self.tag(f"set ns.a = {self.expr('any', 1)}") + "{{ ns.a }}{{ ns.b }}"
        if r < 0.99:
            return "{% block b" + str(self.r.randint(0, 10**6)) + self.pick(["", " scoped"]) + " %}" + self.scoped(depth, loops=0) + "{% endblock %}"
        return self.tag(self.pick(["do x", "include 'x'", "nope", "endfor", "else", "print " + self.expr("any", 1), "break", "continue"]))

    def loop(self, depth):
        target = self.pick(["x", "x", "x", "x, y", "(x, y)"])
        iterable = self.expr(self.pick(["list", "list", "list", "str", "dict", "any"]), 2)
        if "," in target and self.chance(0.7):
            iterable = self.pick(["d.items()", "d|dictsort", "rows|groupby('age')", "[(1, 2), ('a', 'b')]", "messages[0].items()", "xs|batch(2)"])
        if self.chance(0.06):
            return self.tag("for x in tree recursive") + "{{ x.v }}" + self.scoped(depth, loops=1) + "{{ loop(x.c) }}" + self.tag("endfor")
        condition = " if " + self.expr("bool", 1) if self.chance(0.2) else ""
        before = self.loops
        self.loops += 1
        control = ""
        if self.chance(0.25):
            control = self.tag("if " + self.pick(["loop.index > 1", "loop.first", "x", self.expr("bool", 1)])) + self.text() + self.tag(self.pick(["break", "continue"])) + self.tag("endif")
        names = list(self.names)
        body = self.body(depth, 2) + control + self.pick(["", self.body(depth, 1)])
        self.names, self.loops = names, before
        e = self.tag("else") + self.scoped(depth) if self.chance(0.2) else ""
        return self.tag(f"for {target} in {iterable}{condition}") + body + e + self.tag("endfor")

    def set(self, depth):
        name = self.name()
        if self.chance(0.25):
            f = self.pick(["", "", " | upper", " | trim", " | replace('a', 'b')", " | length"])
            s = self.tag(f"set {name}{f}") + self.scoped(depth) + self.tag("endset")
        elif self.chance(0.15):
            s = self.tag(f"set {name}, q2 = {self.pick([self.expr('any', 1) + ', ' + self.expr('any', 1), self.expr('list', 1)])}")
        else:
            s = self.tag(f"set {name} = {self.expr('any', 3)}")
        self.names.append(name)
        return s

    def macro(self, depth):
        name = self.pick(["m1", "m2"])
        head = self.pick(["", "a", "a, b=1", "a, b=a, c='z'", "x=x"])
        inner = self.scoped(depth, loops=0)
        inner += self.pick(["", "{{ a }}", "{{ varargs }}", "{{ kwargs }}", "{{ caller() }}", "{{ caller is defined }}", "{{ b }}"])
        args = self.pick(["", self.expr("any", 1), f"{self.expr('any', 1)}, {self.expr('any', 1)}", f"a={self.expr('any', 1)}", f"{self.expr('any', 0)}, k={self.expr('any', 1)}", "*xs", "**d"])
        s = self.tag(f"macro {name}({head})") + inner + self.tag("endmacro")
        if self.chance(0.35):
            return s + self.tag(f"call{self.pick(['', '', '(x)', '(x, y=2)'])} {name}({args})") + self.scoped(depth, loops=0) + self.tag("endcall")
        return s + "{{ " + f"{name}({args})" + " }}" + self.pick(["", "{{ m1 }}", "{{ m1(1) }}"])

    def mutate(self, template):
        """A template with a few characters changed: mostly one that does not parse."""
        t = list(template)
        for _ in range(self.r.randint(1, 2)):
            at = self.r.randrange(len(t))
            what = self.r.random()
            if what < 0.4:
                del t[at]
            elif what < 0.7:
                t.insert(at, self.pick(list("{}%#()[]'\"|.,:-+=~ \n1ax_")))
            else:
                t[at] = self.pick(list("{}%#()[]'\"|.,:-+=~ \n1ax_"))
            if not t:
                break
        return "".join(t)

    def template(self):
        depth = self.pick([1, 1, 2, 3])
        t = self.body(depth, self.pick([1, 1, 2, 3]))
        return self.mutate(t) if self.chance(0.08) else t


class TooLong(BaseException):
    pass


def stop(*_):
    raise TooLong


def batch(seed, count):
    """Writes a line for each template that can be compared."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    signal.signal(signal.SIGALRM, stop)
    for i in range(count):
        template = Grammar(seed * 1_000_003 + i).template()
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            result = oracle.render(template, VARIABLES)
        except TooLong:
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if oracle.ADDRESS.search(result.get("output", "")) or result.get("error") in ("RecursionError", "MemoryError", "NameError"):
            continue
        try:
            print(json.dumps({"template": template, **result}, ensure_ascii=False))
        except UnicodeEncodeError:
            pass


def main():
    if sys.argv[1] == "--batch":
        return batch(int(sys.argv[2]), int(sys.argv[3]))
    path, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    size = 2000
    with open(path, "w") as out:
        out.write(json.dumps({"oracle": oracle.versions(), "variables": VARIABLES}, ensure_ascii=False) + "\n")
        out.flush()
        for i in range(0, count, size):
            command = [sys.executable, __file__, "--batch", str(seed * 100_000 + i // size), str(min(size, count - i))]
            try:
                subprocess.run(command, stdout=out, stderr=subprocess.DEVNULL, timeout=180)
            except subprocess.TimeoutExpired:
                out.write("\n")
            print(i, flush=True)


if __name__ == "__main__":
    main()
