"""Writes constructs.json: small templates with what Jinja2 makes of them as
transformers runs it. Many behaviours are those that Jinja2's own tests ask for
(pallets/jinja: test_lexnparse, test_core_tags, test_filters, test_tests,
test_regression, test_security), put in words of their own."""

import json
import pathlib

import oracle

VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1, "y": [1.5, None, True]}}}]},
        {"role": "user", "content": "q ü 漢 <b>"},
    ],
    "s": "Hello, World",
    "text": "one two  three\nfour\tfive",
    "e": "",
    "n": 7,
    "f": 2.5,
    "big": 123456789012345678901234567890,
    "yes": True,
    "no": False,
    "nil": None,
    "xs": [3, 1, 2],
    "ws": ["b", "A", "c", "a", "B"],
    "d": {"b": 1, "a": 2, "items": 3, "_p": 4, "C": 0},
    "users": [{"name": "Ann", "age": 31, "city": "Rome", "on": True}, {"name": "bob", "age": 27, "city": "rome", "on": False}, {"name": "Cid", "age": 31}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}],
    "uni": "straße ΑΣ İ ﬁ 漢字 é",
}

# One template a line, groups by a line of "# name".
LINES = r"""
# whitespace
<p>{%- set v = 'q' -%}{{ v }} tail
x {%+ if true %}y{% endif +%} z
  {% if true %}  a  {% endif %}  b
  {{ 1 }}  {{- 2 -}}  {{ 3 }}
a{# c #}b  {#- c -#}  d{#+ c #}e
{% raw %}{{ x }}{% endraw %}|{% raw -%}  {{ y }}  {%- endraw %}
{%- raw +%} {{ x }} {%+ endraw +%}|
{%-if true-%} a {%-endif-%} b
{{'a'}}{{- 'b' }}{{ 'c' -}} d
{% if true +%} a {% endif %} b
{{ {'a':{'b':2}}.a.b }}{{ {'x': {}} }}{{ {}}}
{{ '}}' }}{{ "%}" }}{{ '{{' }}{{ "{%" }}
{ { } } {a} %} }} #} { % {
# literals
{{ 1_000 }} {{ 0x1f }} {{ 0b101 }} {{ 0o17 }} {{ 1e3 }} {{ 1.5e-3 }} {{ 1_0.2_5 }} {{ 00 }} {{ 1E2 }}
{{ 'a' 'b' "c" }} {{ 'it''s' }}
{{ 'a\nb\tc\\d\'e\"f\x41\u00e9\U0001F600\101\q' }}
{{ "\a\b\f\v\0"|tojson }} {{ 'é\é' }}
{{ true }} {{ True }} {{ false }} {{ False }} {{ none }} {{ None }}
{{ () }} {{ (1,) }} {{ (1) }} {{ 1, 2 }} {{ 1, }} {{ (1, (2, 3)) }}
{{ [] }} {{ [1, 2,] }} {{ {} }} {{ {'a': 1,} }} {{ {1: 'x', true: 'y', 1.0: 'z'} }} {{ {none: 1, (1, 2): 2} }}
{{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789.123456789 }} {{ 1e-5 }} {{ 0.0001 }} {{ -0.0 }} {{ 1e22 }} {{ 1.7976931348623157e308 }} {{ 5e-324 }}
{{ 12345678901234567890123 }} {{ -5 }} {{ +5 }} {{ - - 5 }}
{{ [1, 'a', "it's", 'q"', none, true, 1.5, {'k': [()]}] }}
{{ 'tab\there' ~ ['tab\t', '\x00\x7f\x85\xa0', 'é漢😀', '\u200b', '\\'] }}
{{ 1.e }}
{{ 1.real }}
{{ 'unterminated }}
{{ '\x4' }}
{{ '\u12' }}
{{ 1__0 }}
# operators
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}
{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 1e300 * 1e10 }} {{ 0.1 + 0.2 }} {{ 1 / 3 }} {{ 10 / 5 }}
{{ 2 ** 100 }} {{ 2 ** 64 - 1 }} {{ (2 ** 64) // 3 }} {{ (2 ** 64) % 1000 }} {{ (2 ** 70) / (2 ** 69) }} {{ -(2 ** 63) }} {{ 9223372036854775807 + 1 }} {{ big * big }} {{ big // -7 }} {{ big % -7 }}
{{ true + true }} {{ true * 3 }} {{ -true }} {{ +true }} {{ true / 2 }} {{ 1 + 1.5 }} {{ not 1 }} {{ not not 'a' }}
{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'a' * -1 }} {{ [1] + [2] }} {{ [1] * 2 }} {{ (1,) + (2,) }} {{ 2 * (1, 2) }}
{{ 'a' ~ 1 ~ none ~ true ~ [1] ~ missing ~ 1.0 }}
{{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == 'a' }} {{ [1] == [1.0] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': true} }} {{ none == false }} {{ 1 != 2 }} {{ missing == missing2 }} {{ missing == none }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 1 }} {{ 3 > 2 > 2 }} {{ 1 <= 1 >= 1 }} {{ 'a' < 'b' }} {{ 'a' < 'B' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 0) }} {{ 2 ** 70 > 1e21 }} {{ true < 2 }}
{{ 1 in [1, 2] }} {{ '1' in '123' }} {{ 'a' in {'a': 1} }} {{ 1 not in [2] }} {{ 1.0 in [1] }} {{ 3 in range(5) }} {{ '' in 'abc' }} {{ missing in [1] }} {{ 1 in missing }} {{ 2.0 in range(4) }}
{{ 1 and 2 }} {{ 0 or 'x' }} {{ '' and 1 }} {{ none or missing or 'y' }} {{ 1 if 0 else 2 if 1 else 3 }} {{ 'a' if false }}|{{ ('a' if false) is defined }}
{{ not 1 == 2 }} {{ not 1 in [1] }} {{ 1 == 1 and 2 == 2 or false }} {{ 1 + 1 ~ 2 }} {{ 2 * 3 ~ 4 }}
{{ 'abc'[1] }} {{ 'abc'[-1] }} {{ 'abc'[5] }}| {{ [1,2,3][-1] }} {{ [1,2][9] }}| {{ {'a': 1}['a'] }} {{ {'a': 1}['b'] }}| {{ (1, 2)[0] }} {{ 'abc'['x'] }}|{{ xs.0 }} {{ xs.1.real }}
{{ 'abcdef'[1:3] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[::2] }} {{ 'abcdef'[-3:] }} {{ 'abcdef'[:-1] }} {{ 'abcdef'[5:1:-2] }} {{ [1,2,3,4][1:] }} {{ (1,2,3)[:2] }} {{ 'äöü漢'[1:3] }} {{ 'äöü漢'[::-1] }} {{ 'abc'[10:] }}|{{ range(10)[2:8:3] }} {{ [1,2,3][:true] }} {{ 'abc'[none:2] }}
{{ 'abc'[::0] }}
{{ s['a':] }}
{{ d[1:2] }}
{{ nil[1:] }}
{{ missing[1:] }}
{{ xs[1, 2] }}|{{ {(1, 2): 'p'}[1, 2] }}|{{ xs[[]] }}
{{ xs[1:2, 3] }}
{{ 1 + 'a' }}
{{ 'a' + 1 }}
{{ [1] + (2,) }}
{{ none + 1 }}
{{ {} + {} }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1.0 % 0 }}
{{ 0 ** -1 }}
{{ 1 < 'a' }}
{{ none < none }}
{{ 1 in 5 }}
{{ 1 in 'abc' }}
{{ -'a' }}
{{ missing + 1 }}
{{ 1 * missing }}
{{ 'a' + missing }}
{{ missing < 1 }}
{{ -missing }}
{{ 2 ** 0.5 }} {{ 4 ** 0.5 }} {{ 10 ** 20 }} {{ 10.0 ** 20 }} {{ 0 ** 0 }} {{ (-1) ** 3 }} {{ 1.5 ** 2 }}
{{ 10.0 ** 400 }}
{{ 1e60 ** 3 }} {{ 10 ** -0.5 }} {{ 1.1 ** 10 }} {{ (-2.0) ** 3 }} {{ 0.1 ** 20 }} {{ 2.0 ** -1074 }} {{ 1e300 ** -2 }} {{ 9.99 ** 1.01 }} {{ 3 ** -3 }} {{ 1.0000001 ** 1e7 }} {{ (-0.5) ** -3.0 }} {{ 0.0 ** 0 }} {{ 1 ** 1e300 }} {{ 2 ** 0.1 }}
{{ 10 ** 400 / 1.0 }}
{{ {[]: 1} }}
{{ 3 | abs + 1 }}
{{ -3 | abs }} {{ (-3) | abs }} {{ 2 ** 3 | abs }}
{{ (2 ** 5000) }}
# undefined
[{{ missing }}] [{{ missing.x is defined if missing is defined }}] {{ missing|length }} {{ missing|list }} {{ missing is defined }} {{ missing is undefined }} {{ d.zz }} {{ d['zz'] }}
{{ missing.x }}
{{ missing['x'] }}
{{ missing() }}
{{ d.zz.y }}
{{ nil.x }}|{{ nil['x'] }}|{{ n.x }}|{{ s.x }}
{{ nil.x.y }}
{{ missing.__class__ }}|{{ missing._x }}
{{ missing|int }}
{{ missing|float }}
{{ missing|upper }}|{{ missing|string }}|{{ missing|join }}|{{ missing|first }}|{{ missing|last }}|{{ missing|sum }}|{{ missing|sort }}|{{ missing|reverse|list }}|{{ missing|unique|list }}|{{ missing|trim }}|{{ missing|replace('a', 'b') }}
{{ missing|tojson }}
{{ missing|abs }}
{{ missing|round }}
{{ missing|dictsort }}
{{ missing|items|list }}|{{ missing|map('upper')|list }}|{{ missing|select|list }}|{{ missing|batch(2)|list }}|{{ missing|slice(2)|list }}|{{ missing|groupby('a') }}
{{ missing|indent }}
{{ missing|truncate }}|{{ missing|wordcount }}|{{ missing|urlencode }}|{{ missing|striptags }}|{{ missing|title }}
{{ missing is number }} {{ missing is string }} {{ missing is iterable }} {{ missing is sequence }} {{ missing is mapping }} {{ missing is callable }} {{ missing is none }} {{ missing is lower }}
{{ missing is odd }}
{{ 'a %s' % missing }} {{ 'abc' % missing }}
{{ [missing, d.x] }} {{ {'a': missing} }}
{% for x in missing %}a{% else %}none{% endfor %}
{% if missing %}a{% else %}b{% endif %}
{{ missing.items() }}
{{ range(missing) }}
{% set x = missing %}{{ x is defined }}
{{ messages[9].content }}
{{ messages[0].nope }}|{{ messages[0]['nope'] }}|{{ messages[0].get('nope') }}|{{ messages[0].get('nope', 'dflt') }}
# statements
{% for x in xs %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for x in [] %}a{% else %}empty{% endfor %}
{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}
{% for x in xs %}{{ loop.previtem }}|{{ loop.nextitem }};{% endfor %}
{% for x in xs %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}
{% for x in xs if x > 1 %}{{ x }}:{{ loop.index }}/{{ loop.length }} {% endfor %}
{% for x in xs if x > 9 %}a{% else %}none{% endfor %}
{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }};{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}
{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for k in d %}{{ k }} {% endfor %}{% for c in 'aü漢' %}{{ c }}.{% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for a, b in [(1,)] %}{{ a }}{% endfor %}
{% for a, b in [1] %}{{ a }}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for x in none %}{% endfor %}
{% for x in range(5) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in xs %}{% continue %}{% else %}after{% endfor %}
{% for x in xs %}{% break %}{% else %}after{% endfor %}
{% for x in xs %}{{ x }}{% else %}no{% endfor %}
{% break %}
{% for x in xs %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for x in xs %}{% set y %}a{% break %}{% endset %}{{ y }}{% endfor %}|
{% for x in xs %}{% for y in ws %}{% if y == 'c' %}{% break %}{% endif %}{{ y }}{% endfor %}{{ x }}{% endfor %}
{% for n in tree recursive %}{{ n.v }}@{{ loop.depth }}{{ loop.depth0 }}[{{ loop(n.c) }}]{% endfor %}
{% for n in tree recursive %}{{ n.v }}{% if n.c %}({{ loop(n.c) }}){% endif %}{{ loop.index }}{% else %}e{% endfor %}
{% for x in xs %}{{ loop(x) }}{% endfor %}
{% for x in [[1, [2]], [3]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}
{% for x in xs %}{% for y in [1] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% for x in xs %}{% set l = loop %}{% for y in [1] %}{{ l.index }}{% endfor %}{% endfor %}
{% for loop in xs %}{{ loop }}{% endfor %}
{% for x in xs %}{% set loop = 1 %}{% endfor %}
{{ loop is defined }}{% for x in [1] %}{{ loop is defined }}{% endfor %}
{% for x in xs %}{{ loop }}{% endfor %}
{% for x in xs %}{{ loop.nope }}|{% endfor %}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(x=1) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}
{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b, c = 2, 3 %}{{ ns.a }}{{ ns.b }}{{ c }}{{ ns.zz }}{{ ns }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns['b'] }}{{ ns.items is defined }}
{% set d.x = 1 %}
{% set missing.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}
{% set a, b = 1 %}
{% set a, b = [1, 2, 3] %}
{% set (a, b) = 'xy' %}{{ a }}{{ b }}
{% set x %}a{{ n }}b{% endset %}{{ x }}{{ x is string }}
{% set x | upper | replace('A', 'z') %}abc{% endset %}{{ x }}
{% set x | replace('a', nowhere) %}abc{% endset %}{{ x }}
{% set x = 1, 2 %}{{ x }}
{% set x = 1 if no else 2 %}{{ x }}
{% if no %}{% set z = 1 %}{% endif %}[{{ z }}]{% if yes %}{% set z = 2 %}{% endif %}{{ z }}
{% if yes %}{% set s = 'inner' %}{% endif %}{{ s }}
{% for i in [1] %}{{ s }}{% set s = 'in' %}{{ s }}{% endfor %}{{ s }}
{% if n == 1 %}a{% elif n == 7 %}b{% elif true %}c{% else %}d{% endif %}
{% if [] %}a{% elif {} %}b{% elif '' %}c{% elif 0 %}d{% elif 0.0 %}e{% elif none %}f{% elif range(0) %}g{% else %}h{% endif %}
{% if 1, %}t{% endif %}{% if () %}f{% endif %}
{% with %}{% set q = 1 %}{{ q }}{% endwith %}[{{ q }}]
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with a = 1, b = a %}[{{ b }}]{% endwith %}
{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}
{% with n = n + 1 %}{{ n }}{% endwith %}{{ n }}
{% macro f(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(b=1, a=0) }} {{ f() }} {{ f }} {{ f.name }} {{ f.arguments }} {{ f.catch_varargs }}
{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, k=3) }}{{ f() }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}
{% macro f(a, a) %}{% endmacro %}
{% macro f(a=1, b) %}{% endmacro %}
{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 2) }}
{% macro f(a=b, b=2) %}[{{ a }}{{ b }}]{% endmacro %}{{ f() }}
{% macro f() %}{{ s }}{% set s = 1 %}{{ s }}{% endmacro %}{{ f() }}{{ s }}
{% macro f() %}{{ late }}{% endmacro %}{% set late = 5 %}{{ f() }}
{% macro f(x) %}{% if x %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{{ f() }}{% macro f() %}x{% endmacro %}
{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{{ inner() }}{% endmacro %}{{ outer() }}[{{ inner }}]
{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}
{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}body{% endcall %}
{% macro f() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b=5, c=6) f() %}{{ a }}{{ b }}{{ c }}{% endcall %}
{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}{% call f() %}{% endcall %}
{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}
{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}
{% macro f(caller=none) %}{% if caller %}{{ caller() }}{% else %}none{% endif %}{% endmacro %}{{ f() }}{% call f() %}c{% endcall %}
{% macro f(caller) %}{{ caller() }}{% endmacro %}
{% call range(3) %}x{% endcall %}
{% call n %}{% endcall %}
{% macro f() %}{{ caller('x') }}{% endmacro %}{% call(x) f() %}{% for i in [1, 2] %}{{ i }}{{ x }}{% endfor %}{% endcall %}
{% filter upper %}abc {{ s }}{% endfilter %}
{% filter upper | replace('A', 'z') %}aBc{% endfilter %}
{% filter indent(2) %}a
{% filter nope %}{% endfilter %}
{% print 1, 2 %}{% print 'x' %}
{% generation %}g{% endgeneration %}
a{% generation %}gen {{ n }}{% endgeneration %}b{% generation %}漢{% endgeneration %}c
{{ '' }}{% generation %}x{% endgeneration %}
{% for m in messages %}{{ m.role }}:{% if m.role == 'user' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}
a{% macro m() %}-{% generation %}in{% endgeneration %}{% endmacro %}{{ m() }}{% set t %}{% generation %}set{% endgeneration %}{% endset %}{{ t }}
{% autoescape false %}<{{ '<' }}{% endautoescape %}
{% block b %}in {{ n }}{% set q = 1 %}{% endblock %}{{ self.b() }}[{{ q }}]
{% set q = 1 %}{% block b %}{{ q }}{{ missing }}{% endblock %}
{% for i in xs %}{% block b %}[{{ i }}]{% endblock %}{% endfor %}
{% for i in xs %}{% block b scoped %}[{{ i }}{{ loop.index }}]{% endblock %}{% endfor %}
{% block b %}{{ super() }}{% endblock %}
{% block b %}1{% endblock b %}{% block b %}2{% endblock %}
{% block b required %} {% endblock %}
{% block b required %}x{% endblock %}
{% block a-b %}{% endblock %}
{{ self.nope }}|{{ self.nope() }}
{% include 'x' %}
{% include 'x' ignore missing %}
{% include [] ignore missing %}ok
{% include [] %}
{% import 'x' as y %}
{% from 'x' import y %}
{% from 'x' import _y %}
{% extends 'x' %}
{% if false %}{% extends 'x' %}{% endif %}ok
{% for x in xs %}{% extends 'x' %}{% endfor %}
{% if true: %}colon{% endif %}
# syntax errors
{{ }}
{{ 1 + }}
{{ (1 }}
{{ [1 }}
{{ 1 ] }}
{{ (1] }}
{{ a b }}
{{ 'a' is }}
{{ a is b is c }}
{{ 1 is number is number }}
{% if %}{% endif %}
{% if x %}
{% endif %}
{% for %}{% endfor %}
{% for x in %}{% endfor %}
{% for x %}{% endfor %}
{% for x, in [[1]] %}{% endfor %}
{% for x in 1, 2 recursive %}{% endfor %}
{% for x in 1, recursive %}{% endfor %}
{% for 1 in x %}{% endfor %}
{% for x.y in z %}{% endfor %}
{% nope %}
{% if a %}{% endfor %}
{% for x in y %}{% if z %}{% endfor %}
{% set 1 = 2 %}
{% set true = 2 %}
{% set x.y.z = 1 %}
{% set x[0] = 1 %}
{% set %}
{% set x %}
{{ x|nope }}
{{ x is nope }}
{% if false %}{{ x|nope }}{% endif %}ok
{% if true %}{{ x|nope }}{% endif %}
{{ (x|nope) if false else 'ok' }}
{{ x|nope if false }}
{% if true %}{% for x in xs %}{{ x|nope }}{% endfor %}{% endif %}
{{ x| }}
{{ x. }}
{{ x.'a' }}
{{ x[ }}
{{ f(a=1, 2) }}
{{ f(**a, b) }}
{{ f(*a, b) }}
{{ f(a=1, a=2) }}
{{ f(a }}
{{ {1} }}
{{ {1: } }}
{{ $ }}
{{ a ! b }}
{{ a & b }}
{{ a ? b : c }}
{# open
{% raw %}x
{{ 'a
{{ x; y }}
{% macro %}{% endmacro %}
{% macro f %}{% endmacro %}
{% call f %}{% endcall %}
{% filter %}{% endfilter %}
{% with 1 = 2 %}{% endwith %}
{% block %}{% endblock %}
{% elif x %}
{% else %}
{{ lambda x: x }}
{{ not }}
{{ x if }}
{{ x if y else }}
{% 1 %}
{%  %}
{{ 'a'.b.c( }}
{{ a ** }}
{{ a = 1 }}
{{ a == }}
{{ ,1 }}
{{ (,) }}
{{ ; }}
{% endraw %}
a {{ b
# tests
{{ 1 is odd }} {{ 2 is odd }} {{ 2 is even }} {{ 3 is even }} {{ 6 is divisibleby(3) }} {{ 6 is divisibleby 4 }} {{ 1.0 is odd }} {{ true is odd }}
{{ 1 is in [1] }} {{ 'a' is in 'abc' }} {{ 1 is not in [2] }} {{ 'a' is in d }}
{{ 1 is eq 1 }} {{ 1 is equalto 1.0 }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is lessthan 0 }} {{ 1 is gt 0 }} {{ 1 is greaterthan 2 }} {{ 1 is ge 1 }} {{ 1 is le 0 }}
{{ none is none }} {{ 1 is none }} {{ true is boolean }} {{ 1 is boolean }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ 0 is false }}
{{ 1 is integer }} {{ true is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ 1 is float }} {{ big is integer }} {{ 1 is number }} {{ true is number }} {{ 1.5 is number }} {{ '1' is number }}
{{ 'a' is string }} {{ 1 is string }} {{ {} is mapping }} {{ [] is mapping }} {{ [] is sequence }} {{ 'a' is sequence }} {{ {} is sequence }} {{ 1 is sequence }} {{ range(1) is sequence }} {{ d.keys() is sequence }} {{ xs|map('abs') is sequence }}
{{ [] is iterable }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ none is iterable }} {{ d.items() is iterable }} {{ xs|select is iterable }} {{ namespace() is iterable }} {{ range is iterable }}
{{ range is callable }} {{ 1 is callable }} {{ 'a'.upper is callable }} {{ dict is callable }} {{ cycler(1) is callable }} {{ joiner() is callable }} {{ namespace() is callable }}
{{ 'abc' is lower }} {{ 'Abc' is lower }} {{ 'ABC' is upper }} {{ '1' is upper }} {{ 'a1' is lower }}
{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ '==' is test }} {{ 1 is filter }} {{ 'tojson' is filter }}
{{ nil is sameas none }} {{ 1 is sameas 1 }} {{ [] is sameas [] }} {{ xs is sameas xs }} {{ true is sameas 1 }} {{ 'a'|safe is escaped }} {{ 'a' is escaped }}
{{ 1 is not none }} {{ not 1 is none }} {{ 1 is number and 2 is number }} {{ missing is not defined or false }} {{ x is defined if x is defined else 'u' }}
{{ 1 is odd() }} {{ 1 is eq(1) }} {{ xs[0] is eq xs[0] }} {{ 3 is eq xs[0] }} {{ [1, 2] is eq [1, 2] }} {{ 'a' is eq 'a' 'b' }} {{ 1 is in {1: 2} }}
{{ 'a' is odd }}
{{ none is even }}
{{ 1 is divisibleby 0 }}
{{ 1 is divisibleby }}
{{ [] is filter }}
{{ 1 is in 1 }}
{{ 1 is lt 'a' }}
{{ 1 is odd(2) }}
{{ 1 is defined and nope is undefined }}
# text filters
{{ 'foo bar'|title }} {{ "foo's bar-baz (qux) [x] <y> {z}"|title }} {{ 'FOO\tBAR'|title }} {{ uni|title }} {{ 5|title }}
{{ 'fOO'|capitalize }} {{ uni|upper }} {{ uni|lower }} {{ 1|upper }} {{ none|lower }} {{ 'ßx'|capitalize }} {{ 'ﬁn'|capitalize }}
{{ '  a '|trim }}| {{ 'xxaxx'|trim('x') }} {{ 5|trim }} {{ 'abcba'|trim('ab') }} {{ '\u3000a\x1c'|trim }}|
{{ 'aaa'|replace('a', 'b') }} {{ 'aaa'|replace('a', 'b', 2) }} {{ 'aaa'|replace('', '-') }} {{ 121|replace(1, 'x') }} {{ 'abc'|replace('b', '') }} {{ 'aaa'|replace('a', 'b', count=0) }} {{ 'aaa'|replace('a', 'b', none) }}
{{ 'x'|center(5) }}|{{ 'x'|center(4) }}|{{ 'xy'|center(5) }}|{{ 'foo'|center }}|{{ 1|center(3) }}|
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2) }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(2, blank=true) }}|{{ 'a\nb'|indent('> ') }}|{{ 'a\nb'|indent(width='>', first=true) }}|{{ 'a\n'|indent }}|{{ ''|indent(2, true) }}|
{{ 1|indent }}
{{ 'foo bar baz qux'|truncate(9) }}|{{ 'foo bar baz qux'|truncate(9, true) }}|{{ 'foo bar baz qux'|truncate(11) }}|{{ 'foo bar baz qux'|truncate(11, false, '...', 0) }}|{{ 'foobar'|truncate(3, true, '') }}|{{ 'a b'|truncate(1, leeway=0, end='') }}|
{{ 'foo'|truncate(2) }}
{{ 'foo'|truncate(5, end=missing) }}
{{ xs|truncate(0, end='') }}
{{ 'a b c'|truncate(3.5, leeway=9.5) }}
{{ 'a b c'|truncate(3.5, leeway=0) }}
{{ 'a'|truncate(0, leeway=0.5) }}
{{ 'a b'|truncate('x') }}
{{ xs|indent }}
{{ xs|indent([]) }}
{{ 5|indent('x') }}
{{ missing|indent({}) }}
{{ ('<a>\n<b>'|safe)|indent('<') }} {{ 'a\nb'|indent('<'|safe) }} {{ 'a\nb'|indent(true) }}
{{ 'foo bar baz'|wordcount }} {{ "it's a dog-day"|wordcount }} {{ ''|wordcount }} {{ '漢字 é_1'|wordcount }}
{{ '<b>a &amp; b</b> <!-- c --> d  e &lt;'|striptags }}|{{ 'a < b'|striptags }}|{{ '<a'|striptags }}|{{ 1|striptags }}
{{ 'a b/c?d=é&f'|urlencode }} {{ {'a b': 'c/d', 'e': 1}|urlencode }} {{ [('a', 'b c')]|urlencode }} {{ 5|urlencode }} {{ '~-_.!*()'|urlencode }}
{{ '<"\'&>'|e }} {{ '<'|escape }} {{ ('<'|e)|e }} {{ '<'|forceescape }} {{ ('<'|e)|forceescape }} {{ 1|e }} {{ none|e }}
{{ ('<'|safe) ~ '<' }} {{ ('<'|safe) + '<' }} {{ '<' + ('<'|safe) }} {{ ('<%s>'|safe) % '<' }} {{ ('<{}>'|safe).format('<') }} {{ ('<'|safe)|upper }} {{ [('<'|safe)] }} {{ ('a,b'|safe).split(',') }} {{ ('-'|safe).join(['<', '>'|safe]) }} {{ ('<'|safe) * 2 }} {{ ('ab'|safe)[0] }} {{ ('a'|safe) == 'a' }} {{ ('a'|safe)|tojson }} {{ ('a'|safe) in ['a'] }} {{ ('x'|safe)|length }}
{{ '%s-%d' % ('a', 3) }} {{ '%s'|format('x') }} {{ '%(a)s'|format(a=1) }} {{ '%(a)s %(b)r' % {'a': 1, 'b': 'x'} }} {{ '%5.2f|%-5d|%05d|%+d|%x|%X|%o|%e|%g|%%|%c|%r|%s' % (3.14159, 42, 42, 42, 255, 255, 8, 12345.678, 0.00001, 'z', 'q', none) }}
{{ '%s' % [1, 2] }} {{ '%s %s' % ('a', missing) }} {{ '%10s|%-10s|%.2s' % ('a', 'b', 'cde') }} {{ '%d' % 3.9 }} {{ '%d' % true }} {{ '%*d' % (5, 3) }} {{ '%#x' % 255 }} {{ '%i' % -3 }} {{ '% d' % 3 }} {{ '%a' % 'é' }} {{ '%c' % 65 }} {{ '%f' % 1 }} {{ '%G' % 1e20 }} {{ '%.3d' % 5 }} {{ '%08.3f' % -3.14159 }} {{ '%.0f' % 2.5 }} {{ '%s' % () }}
{{ '%(b)s %(a)s' % d }} {{ '%s %(b)s' % d }} {{ '{:06,.1f} {:07,} {:08,} {:_>9,} {:012_x}'.format(4, 1234, 1234, 1234, 255) }}
{{ '%(b)s %s' % d }}
{{ '%d' % 'a' }}
{{ '%s %s' % 'a' }}
{{ '%s' % ('a', 'b') }}
{{ '%z' % 1 }}
{{ '%(a)s' % {} }}
{{ '%(a)s' % 1 }}
{{ '%' % 1 }}
{{ '%x' % 1.5 }}
{{ '%s'|format }}
{{ '%s'|format('a', b=1) }}
{{ '{} {}'.format(1, 'a') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{a}'.format(a=1) }} {{ '{0[0]}{0[1]}'.format([1, 2]) }} {{ '{0.real}'.format(5) }} {{ '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd') }} {{ '{:05d}|{:+d}|{:,}|{:_}|{:x}|{:#x}|{:b}|{:o}|{:c}|{:e}|{:.2f}|{:.3}|{:%}|{:g}'.format(42, 42, 1234567, 1234567, 255, 255, 5, 8, 65, 12345.678, 3.14159, 'abcdef', 0.25, 1e10) }} {{ '{{}}'.format() }} {{ '{!r}{!s}'.format('a', 'b') }} {{ '{:{}}'.format('a', 5) }}| {{ '{:,.2f}'.format(1234567.891) }} {{ '{:08.3f}'.format(-3.14159) }} {{ '{:>08}'.format('a') }} {{ '{:.0f}'.format(0.5) }} {{ '{: d}'.format(5) }} {{ '{:010,}'.format(1234) }} {{ '{:=+8}'.format(5) }}
{{ '{}'.format() }}
{{ '{a}'.format() }}
{{ '{'.format() }}
{{ '}'.format() }}
{{ '{:d}'.format('a') }}
{{ '{:s}'.format(1) }}
{{ '{:.2}'.format(1) }}
{{ '{:5}'.format(none) }}
{{ '{} {0}'.format(1) }}
{{ '{0.__class__}'.format(1) }}|
{{ '{0.__class__.x}'.format(1) }}
{{ '{a[b]}'.format_map({'a': {'b': 1}}) }} {{ '{0[a]}'.format({'a': 2}) }} {{ '{.real}'.format(3) }}
{{ '%s' |safe }} {{ 5|string }} {{ none|string }} {{ [1]|string }}
{{ 100|filesizeformat }} {{ 1000|filesizeformat }} {{ 1|filesizeformat }} {{ 1000000|filesizeformat }} {{ 1000000000|filesizeformat }} {{ 1024|filesizeformat(true) }} {{ '300'|filesizeformat }} {{ 1e30|filesizeformat }} {{ 1500000|filesizeformat(binary=true) }} {{ -5|filesizeformat }}
{{ {'a': 1, 'b': none, 'c': missing, 'd': '<'}|xmlattr }}|{{ {}|xmlattr }}|{{ {'a': 1}|xmlattr(false) }}
{{ {'a b': 1}|xmlattr }}
{{ 'foo bar baz'|wordwrap(7) }}|{{ 'abcdefghij'|wordwrap(4) }}|{{ 'abcdefghij kl'|wordwrap(4, false) }}|{{ 'a-b-c-d well-known'|wordwrap(5) }}|{{ 'a b\nc d'|wordwrap(3) }}|{{ 'foo bar'|wordwrap(3, wrapstring='+') }}|{{ 'a-.-word é-!-word-- a-b-word'|wordwrap(6, false) }}
{{ 'see http://a.com/x?y=1 and www.b.org, (me@c.net) mailto:q@r.com.'|urlize }}
{{ 'http://aaaaaaaaaaaaaaaaaaaa.com'|urlize(10) }} {{ 'http://a.com'|urlize(nofollow=true, target='_blank') }} {{ 'tel:123 a.com b.xyz'|urlize(extra_schemes=['tel:']) }}
{{ [3, {'b': 1, 'a': [1, 2]}, 'x']|pprint }} {{ ('word ' * 30)|pprint }} {{ range(40)|list|pprint }}
# item filters
{{ xs|length }} {{ s|length }} {{ d|count }} {{ uni|length }} {{ range(5)|length }} {{ d.keys()|length }}
{{ 5|length }}
{{ xs|map('abs')|length }}
{{ xs|first }} {{ xs|last }} {{ ''|first }}| {{ []|last }}| {{ 'abc'|last }} {{ d|first }} {{ d|last }} {{ d.values()|last }}
{{ xs|map('abs')|last }}
{{ 5|first }}
{{ xs|sum }} {{ [1.5, 2]|sum }} {{ users|sum(attribute='age') }} {{ [[1], [2]]|sum(start=[]) }} {{ []|sum }} {{ [1, true]|sum }} {{ xs|sum(start=10) }}
{{ ['a']|sum }}
{{ xs|min }} {{ xs|max }} {{ ws|min }} {{ ws|max }} {{ ws|min(true) }} {{ []|min }}| {{ users|max(attribute='age') }} {{ ['a', 'B']|max(case_sensitive=true) }}
{{ [1, 'a']|max }}
{{ xs|sort }} {{ xs|sort(true) }} {{ ws|sort }} {{ ws|sort(case_sensitive=true) }} {{ users|sort(attribute='age')|map(attribute='name')|join(',') }} {{ users|sort(attribute='age,name', reverse=true)|map(attribute='name')|join }} {{ 'cab'|sort }} {{ d|sort }} {{ [(2, 'a'), (1, 'b')]|sort(attribute=0) }} {{ [(2, 'a'), (1, 'b')]|sort(attribute='1') }}
{{ [1, 'a']|sort }}
{{ [none, 1]|sort }}
{{ d|dictsort }} {{ d|dictsort(true) }} {{ d|dictsort(false, 'value') }} {{ d|dictsort(reverse=true) }} {{ {'A': 1, 'b': 2, 'C': 3}|dictsort }}
{{ d|dictsort(by='x') }}
{{ xs|dictsort }}
{{ ws|unique|list }} {{ ws|unique(true)|list }} {{ [1, 1.0, true, '1']|unique|list }} {{ users|unique(attribute='age')|map(attribute='name')|list }}
{{ [[]]|unique|list }}
{{ xs|reverse|list }} {{ s|reverse }} {{ uni|reverse }} {{ d|reverse|list }} {{ range(3)|reverse|list }} {{ xs|map('abs')|reverse|list }}
{{ 5|reverse }}
{{ 'abc'|list }} {{ d|list }} {{ d.items()|list }} {{ range(3)|list }} {{ xs|list }} {{ (1, 2)|list }}
{{ 5|list }}
{{ xs|join }} {{ xs|join(', ') }} {{ users|join('-', attribute='name') }} {{ 'abc'|join('.') }} {{ [none, true, 1.5, [1]]|join('|') }} {{ xs|join(1) }} {{ d|join(',') }}
{{ 5|join }}
{{ users|map(attribute='name')|list }} {{ users|map(attribute='city', default='?')|list }} {{ users|map(attribute='zz')|list }} {{ ws|map('upper')|join }} {{ ['1', 'x']|map('int', default=9)|list }} {{ [[1, 2], [3]]|map('first')|list }} {{ [[1, 2]]|map(attribute=1)|list }} {{ tree|map(attribute='c.0.v')|list }} {{ []|map('nope')|list }}
{{ xs|map('nope')|list }}
{{ xs|map|list }}
{{ xs|map(attribute='a', nope=1)|list }}
{{ xs|map(upper)|list }}
{{ xs|select('odd')|list }} {{ xs|reject('odd')|list }} {{ [0, 1, '', 'a']|select|list }} {{ [0, 1]|reject|list }} {{ xs|select('gt', 1)|list }} {{ xs|select('>', 1)|list }} {{ xs|select('in', [1, 2])|list }} {{ xs|select('divisibleby', 3)|list }} {{ [1, none]|select('none')|list }}
{{ users|selectattr('on')|map(attribute='name')|list }} {{ users|rejectattr('on')|map(attribute='name')|list }} {{ users|selectattr('age', 'eq', 31)|map(attribute='name')|list }} {{ users|selectattr('city', 'defined')|list|length }} {{ users|rejectattr('city', 'defined')|map(attribute='name')|join }} {{ users|selectattr('name', 'in', ['Ann'])|list|length }} {{ users|selectattr('age', '>', 30)|list|length }}
{{ users|selectattr|list }}
{{ xs|select('nope')|list }}
{{ users|selectattr('a.b')|list }}
{{ users|groupby('age') }} {{ users|groupby('city') }}
{% for g, l in users|groupby('city', default='none') %}{{ g }}:{{ l|map(attribute='name')|join(',') }};{% endfor %}{% for g in users|groupby('age', case_sensitive=true) %}{{ g.grouper }}={{ g.list|length }} {% endfor %}
{{ xs|batch(2)|list }} {{ xs|batch(2, 'x')|list }} {{ range(5)|batch(3, 0)|list }} {{ []|batch(2)|list }}
{{ xs|slice(2)|list }} {{ range(5)|slice(3, 'x')|list }} {{ xs|slice(5)|list }}
{{ xs|slice(0)|list }}
{{ d|items|list }} {{ {}|items|list }}
{{ xs|items|list }}
{{ d|attr('a') }}|{{ d|attr('keys') is callable }}|{{ 'x'|attr('upper') is defined }}|{{ n|attr('real') }}
{{ nil|default('x') }} {{ missing|default('x') }} {{ missing|d }}| {{ ''|default('x') }}| {{ ''|default('x', true) }} {{ 0|d('z', boolean=true) }} {{ missing|default(default_value=3) }} {{ d.q|default(1) }}
{{ missing.x|default('y') }}
{{ '42'|int }} {{ '42.7'|int }} {{ 'abc'|int }} {{ 'abc'|int(5) }} {{ '0x1f'|int(base=16) }} {{ '0x1f'|int(base=0) }} {{ '11'|int(base=2) }} {{ 3.9|int }} {{ -3.9|int }} {{ true|int }} {{ none|int }} {{ [1]|int }} {{ ' 12 '|int }} {{ '1_000'|int }} {{ '1e3'|int }} {{ 'zz'|int(base=36) }} {{ '٣'|int }} {{ '+5'|int }} {{ '-0'|int }} {{ '1e400'|int }} {{ 1e20|int }} {{ ''|int }}
{{ '4.5'|float }} {{ 'x'|float }} {{ 'x'|float(1.5) }} {{ 3|float }} {{ ' 1e3 '|float }} {{ 'inf'|float }} {{ 'nan'|float }} {{ '-Infinity'|float }} {{ '1_0.5'|float }} {{ none|float }} {{ true|float }} {{ '.5'|float }} {{ '5.'|float }} {{ '0x10'|float }}
{{ 42.55|round }} {{ 42.55|round(1) }} {{ 42.5|round }} {{ 43.5|round }} {{ 42.55|round(1, 'floor') }} {{ 42.1|round(0, 'ceil') }} {{ 42|round }} {{ 1234|round(-2) }} {{ 2.675|round(2) }} {{ -2.5|round }} {{ 1e20|round }} {{ 0.5|round|int }} {{ 1250.0|round(-2) }} {{ 7|round(1, 'floor') }} {{ true|round }}
{{ 1|round(1, 'x') }}
{{ 'a'|round }}
{{ -5|abs }} {{ -5.5|abs }} {{ true|abs }} {{ (-big)|abs }} {{ -0.0|abs }}
{{ 'a'|abs }}
{{ [5]|random }} {{ []|random }}|
# json
{{ messages|tojson }}
{{ messages[2]|tojson(indent=2) }}
{{ {'b': 1, 'a': [1, {'c': none}], 'u': 'é漢😀\n"\\/<>&\x00\x7f'}|tojson }} {{ {'b': 1, 'a': 'é😀'}|tojson(ensure_ascii=true, sort_keys=true) }} {{ [1, 2]|tojson(indent=4) }} {{ {'a': [], 'b': {}}|tojson(indent=1) }} {{ [1, [2]]|tojson(separators=(',', ':')) }} {{ {'a': 1}|tojson(indent='--') }} {{ [1]|tojson(indent=0) }}
{{ [true, false, none, 1, 1.5, 1e100, 'a', (1, 2)]|tojson }} {{ {1: 2, 1.5: 3, true: 4, none: 5}|tojson }} {{ 'x'|tojson }} {{ 5|tojson }} {{ big|tojson }} {{ ('inf'|float)|tojson }} {{ ('nan'|float)|tojson }} {{ users|groupby('age')|tojson }}
{{ {(1, 2): 3}|tojson }}
{{ range(3)|tojson }}
{{ [missing]|tojson }}
{{ d.keys()|tojson }}
{{ {1: 1, 'a': 2}|tojson(sort_keys=true) }}
{{ namespace(a=1)|tojson }}
{{ xs|tojson(none, 2) }} {{ xs|tojson(indent=none) }} {{ {'b': {'z': 1, 'y': 2}, 'a': 1}|tojson(sort_keys=true, indent=2) }}
# string methods
{{ 'a,b,,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ ' a  b c '.split() }} {{ ' a  b c '.split(none, 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a  b c '.rsplit(none, 1) }} {{ ' a  b c '.rsplit() }} {{ 'abc'.split('x') }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a,b'.split(sep=',', maxsplit=0) }} {{ 'a<x>b<x>c'.split('<x>')[-1] }} {{ 'a b'.split(maxsplit=1) }} {{ ' a '.split(maxsplit=0) }} {{ ' a b '.rsplit(maxsplit=0) }}
{{ 'a\nb\r\nc\rd\x0be\u2028f'.splitlines() }} {{ 'a\nb\n'.splitlines(true) }} {{ ''.splitlines() }} {{ 'a\n\n'.splitlines(keepends=true) }}
{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('bc') }} {{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('') }} {{ ''.startswith('', 1) }} {{ 'abc'.startswith('', 4) }} {{ 'äbc'.startswith('b', 1) }}
{{ '  a '.strip() }}| {{ '  a '.lstrip() }}| {{ '  a '.rstrip() }}| {{ 'xyaxy'.strip('xy') }} {{ 'xya'.lstrip('yx') }} {{ 'axy'.rstrip('yx') }} {{ ' a'.strip(none) }} {{ '\n\ta\xa0'.strip() }}|
{{ 'aXbX'.replace('X', '-') }} {{ 'aXbX'.replace('X', '-', 1) }} {{ 'ab'.replace('', '-') }} {{ 'ab'.replace('', '-', 2) }} {{ 'aaa'.replace('a', 'b', -1) }}
{{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'abc'.find('x') }} {{ 'abc'.index('b') }} {{ 'abcabc'.count('bc') }} {{ 'aaa'.count('aa') }} {{ 'abc'.count('') }} {{ 'äöü'.find('ü') }} {{ 'abc'.find('') }} {{ 'abcabc'.find('a', 1) }} {{ 'abcabc'.count('a', 1, -1) }} {{ 'abc'.find('', 3) }} {{ 'abc'.find('', 4) }} {{ 'abc'.rindex('c') }} {{ 'abcabc'.rfind('a', 0, 3) }}
{{ 'abc'.index('x') }}
{{ 'hello wORLD'.title() }} {{ "they're bill's".title() }} {{ 'hello'.capitalize() }} {{ 'Hello'.swapcase() }} {{ 'ß'.upper() }} {{ 'ß'.casefold() }} {{ 'ΑΣ ΑΣΑ Σ'.lower() }} {{ 'İ'.lower()|length }} {{ 'ǆ'.title() }} {{ 'ﬁ'.title() }} {{ 'a1b c'.title() }} {{ 'ŉ'.upper() }} {{ uni.swapcase() }} {{ uni.casefold() }} {{ uni.title() }}
{{ 'abc'.isalpha() }} {{ 'ab1'.isalnum() }} {{ '12'.isdigit() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} {{ '一'.isnumeric() }} {{ 'abc'.islower() }} {{ 'ABC'.isupper() }} {{ 'Abc Def'.istitle() }} {{ ' \t'.isspace() }} {{ ''.isspace() }} {{ 'a b'.isidentifier() }} {{ 'a_b'.isidentifier() }} {{ 'a\n'.isprintable() }} {{ ''.isprintable() }} {{ 'é'.isascii() }} {{ 'é漢'.isalpha() }} {{ '1a'.isidentifier() }} {{ ''.isalpha() }} {{ 'ⅷ'.isalpha() }} {{ 'ª'.islower() }}
{{ 'a'.ljust(3) }}| {{ 'a'.rjust(3, '*') }} {{ 'a'.center(4, '-') }} {{ 'ab'.center(5, '-') }} {{ '5'.zfill(3) }} {{ '-5'.zfill(4) }} {{ '+'.zfill(3) }} {{ 'a\tb'.expandtabs() }}| {{ 'a\tb'.expandtabs(4) }}| {{ 'ab\tc\n\td'.expandtabs(tabsize=3) }}|{{ 'abc'.ljust(2) }}
{{ 'a'.ljust(3, 'xy') }}
{{ ', '.join(['a', 'b']) }} {{ ''.join('abc') }} {{ '-'.join(d) }} {{ ','.join(xs|map('string')) }} {{ '-'.join([]) }}|
{{ ','.join([1]) }}
{{ ','.join(5) }}
{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'abc'.removeprefix('x') }} {{ 'abc'.removesuffix('') }}
{{ 'a'.upper() }}{{ 'a'['upper']() }}{{ 'abc'.encode() }}{{ 'é'.encode('utf-8') }} {{ 'a'.encode()[0] }} {{ 'é'.encode().decode() }} {{ 'abc'.translate({97: 'x', 98: none, 99: 100}) }}
{{ 'abc'.replace('a') }}
{{ 'abc'.replace('a', 1) }}
{{ 'abc'.replace('a', 'b', count=1) }}
{{ 'a'.upper(1) }}
{{ 'a'.nope() }}
{{ 'a'.split('') }}
{{ 'a'.split(1) }}
{{ 'a'.startswith(1) }}
{{ 'a'.startswith(['a']) }}
{{ 'a'.strip(1) }}
{{ 'a'.center('x') }}
{{ 'a'.__class__ }}|{{ 'a'.__class__.__mro__ }}
{{ 'a'.__nope__ }}|
{{ 'a'._x }}|{{ 'a'.format is callable }}
{{ 'a'.__len__() }}
# other methods
{{ d.keys() }} {{ d.values() }} {{ d.items() }} {{ d.get('a') }} {{ d.get('z') }} {{ d.get('z', 5) }} {{ d.copy() }} {{ d['items'] }} {{ d.items is callable }} {{ d._p }} {{ d.keys()|list }} {{ {}.keys() }}
{{ d.get() }}
{{ d.get([]) }}
{{ d.get('a', default=1) }}
{{ d.update({'z': 1}) }}
{{ d.pop('a') }}
{{ d.setdefault('a', 1) }}
{{ d.clear }}|{{ d.update is defined }}|{{ xs.append is defined }}
{{ d.clear() }}
{{ xs.append(1) }}
{{ xs.extend([1]) }}
{{ xs.sort() }}
{{ xs.index(1) }} {{ xs.count(1) }} {{ xs.copy() }} {{ (1, 2).index(2) }} {{ (1, 1).count(1) }} {{ [1, 2, 1].index(1, 1) }} {{ 'a' in d.keys() }} {{ 2 in d.values() }} {{ ('a', 2) in d.items() }} {{ d.keys() == {'b': 1}.keys() }}
{{ d.values() in {1: 2} }} {{ d.values() not in {1.5: 3} }}
{{ d.keys() in {1: 2} }}
{{ '{:#g} {:#.1g} {:#g} {:#.3} {:#.6}'.format(123456.789, 123456, 1.0, 2.0, 123456.0) }} {{ '%#.3g %#g' % (100.0, 123456.0) }}
{{ xs.index(9) }}
{{ (5).real }} {{ n.bit_length() }} {{ 2.0.is_integer() }} {{ f.is_integer() }} {{ f.as_integer_ratio() }} {{ n.numerator }} {{ n.denominator }} {{ f.imag }} {{ true.real }} {{ n.bit_count() }} {{ n.conjugate() }}
{{ range(3) }} {{ range(1, 5)|list }} {{ range(5, 0, -2)|list }} {{ range(3)[1] }} {{ range(3)[-1] }} {{ range(3).start }} {{ range(1, 9, 3).stop }} {{ range(3) == range(0, 3) }} {{ range(5).index(3) }} {{ range(5).count(9) }} {{ range(0)|list }} {{ range(2, 9, 3) }} {{ range(true)|list }}
{{ range(1.5) }}
{{ range() }}
{{ range('a') }}
{{ range(1, 2, 0) }}
{{ range(100001) }}
{{ range(100000)|length }}
{{ range(10**20) }}
{{ dict(a=1, b=2) }} {{ dict({'a': 1}, b=2) }} {{ dict([('a', 1), ['b', 2]]) }} {{ dict() }} {{ dict(['ab']) }} {{ dict.fromkeys(['a', 'b'], 1) }} {{ dict(**{'x': 1}) }}
{{ dict(1) }}
{{ dict([1]) }}
{{ dict([(1, 2, 3)]) }}
{{ dict({}, {}) }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}
{{ cycler() }}
{% set j = joiner('|') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}{% set k = joiner() %}{{ k() }}a{{ k() }}b
{{ namespace(a=1) }} {{ namespace().x }}|{{ namespace(a=1)['a'] }}
{{ namespace(1) }}
{{ n() }}
{{ s() }}
{{ d() }}
{{ none() }}
{{ (1, 2)() }}
{{ dict(a=1).a }} {{ dict(*[[('q', 1)]]) }} {{ range(*[1, 4])|list }} {{ 'a{}{b}'.format(*[1], **{'b': 2}) }}
{{ dict(**1) }}
{{ dict(*1) }}
{{ dict(a=1, **{'a': 2}) }}
{{ dict(**{1: 2}) }}
{{ raise_exception('x') }}
{{ ''.__class__.__mro__[1].__subclasses__() }}
{{ d.__init__ }}|{{ d.__init__.__globals__ }}
{{ range.__call__ }}|
{{ xs.__len__ }}|{{ xs['__len__'] }}|{{ xs['__class__']['x'] }}
{{ cycler.__init__.__globals__ }}
{{ [].__class__.__base__ }}
{{ d|attr('__class__') }}|
{{ messages|map(attribute='__class__')|list }}
{{ ''|attr('format') is callable }}
# scoping
{% set v = 1 %}{% macro m(v) %}{{ v }}{% set v = 3 %}{{ v }}{% endmacro %}{{ m(2) }}{{ v }}
{% set v = 1 %}{% for i in [1, 2] %}{% if i == 1 %}{% set v = 9 %}{% endif %}{{ v }}{% endfor %}{{ v }}
{% set v = 1 %}{% if yes %}{% if no %}{% set v = 2 %}{% endif %}{{ v }}{% endif %}{{ v }}
{% for i in [1, 2] %}{% if i == 1 %}{% set q = 5 %}{% endif %}[{{ q }}]{% endfor %}[{{ q }}]
{% for i in xs %}{{ i }}{% endfor %}[{{ i }}]
{% for i in xs %}{% for i in [9] %}{{ i }}{% endfor %}{{ i }}{% endfor %}
{% set i = 5 %}{% for i in xs %}{{ i }}{% endfor %}{{ i }}
{% for x in xs if x != loop_var %}{{ x }}{% endfor %}
{% for n in [n, 2] %}{{ n }}{% endfor %}{{ n }}
{% for x in xs if n > x %}{% set n = 0 %}{{ x }}{% endfor %}{{ n }}
{% set ns = namespace(k=2) %}{% for x in xs if x > ns.k %}{{ x }}{% set ns.k = 0 %}{% endfor %}
{% macro m() %}{{ x }}{% endmacro %}{% for x in xs %}{{ m() }}{% endfor %}|
{% macro m(x=x) %}{{ x }}{% endmacro %}{{ m() }}|{{ m(1) }}
{% set x = 1 %}{% macro m(x=x) %}[{{ x }}]{% endmacro %}{{ m() }}
{% set outer = 'o' %}{% macro m() %}{% set inner = outer %}{% for i in [1] %}{% set inner = inner ~ i %}{{ inner }}{% endfor %}{{ inner }}{% endmacro %}{{ m() }}
{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}[{{ y }}]
{% filter upper %}{% set y = 'a' %}{{ y }}{% endfilter %}[{{ y }}]
{% set x = 1 %}{% with %}{% set x = 2 %}{{ x }}{% endwith %}{{ x }}
{% set x = 1 %}{% call range() %}{% endcall %}
{% macro m() %}{{ caller() }}{% endmacro %}{% set x = 1 %}{% call m() %}{{ x }}{% set x = 2 %}{{ x }}{% endcall %}{{ x }}
{% set self = 1 %}{{ self }}
{% set range = 1 %}{{ range }}
{{ range is callable }}{% set range = 1 %}
{% set dict = dict(a=1) %}{{ dict }}
{% set messages = messages[1:] %}{{ messages|length }}{{ messages[0].role }}
{% if messages[0].role == 'system' %}{% set loop_messages = messages[1:] %}{% set sys = messages[0].content %}{% else %}{% set loop_messages = messages %}{% endif %}{{ loop_messages|length }}{{ sys }}
{% set _ = d.get('a') %}{{ _ }}
{% set g = xs|map('abs') %}{{ g|list }}{{ g|list }}
{% set g = xs|select %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% else %}done{% endfor %}
{% for x in xs|map('string') %}{{ loop.length }}{{ x }}{{ loop.last }}{% endfor %}
{% for x in (xs|map('string')) if x != '1' %}{{ loop.nextitem }}{{ loop.length }}{% endfor %}
{{ [1, 2, 3]|map('string')|map('int')|select('gt', 1)|sum }}
{% set a = [1] %}{% set b = a %}{{ a is sameas b }}
{% if 'x' not in d and d.a is defined %}ok{% endif %}
{% if not (messages|selectattr('role', 'equalto', 'tool')|list) %}no tool{% endif %}
{%- for message in messages %}{%- if message['role'] == 'user' %}{{- '<|user|>\n' + message['content'] | trim + '<|end|>\n' }}{%- elif message.tool_calls is defined %}{%- for tc in message.tool_calls %}{{- tc.function.name }}({{ tc.function.arguments | tojson }}){%- endfor %}{%- endif %}{%- endfor %}
"""

# Templates of more than one line.
MORE = [
    "{% for m in messages %}\r\n<{{ m.role }}>\r\n{{ m.content }}\r\n{% endfor %}",
    "a\n", "a\n\n", "\n", "", "a\r\nb\rc\n", "  {% if true %}\n  x\n  {% endif %}\ny",
    "  {%+ if true %}\n  x\n  {%+ endif %}\ny", "{% if true %}   \n  x{% endif %}", "\t{# c #}\n a",
    "  {# c #}  {# d #}\n b", "a\n  {% raw %}\n  {{ x }}\n  {% endraw %}\n b", "{{ 1 }}\n{{ 2 -}}\n{{ 3 }}",
    "x\n   {%- if true -%}\n   y\n   {%- endif -%}\n   z", "{%- set x -%}\n a \n{%- endset -%}\n[{{ x }}]",
    "{% set x = 'a\nb\r\nc' %}{{ x }}", "{{\n  1\n  +\n  2\n}}", "{#\n a\n#}\n{{ nope| }}", "a\n\n{% if %}", "a\n{{ x }}\n{% nope %}",
    "{% if true %}\n\n\n{{ ( }}", "{{ 'a\n\nb' }}{{ ] }}", "{# a\n\n -#}  \n\n {{ ) }}", "\u2028{%- if true %}\u00a0x{% endif %}",
    "  \x0b {% if true %}x{% endif %}", "{% filter indent(2) %}a\nb\n{% endfilter %}c", "{{ 'a\\\nb' }}", "\ufeff{{ 1 }}",
    "{{ 漢字 }}{% set 漢字 = 1 %}{{ 漢字 }}{{ é1 }}", "{% for i in range(3) -%}\n  {{ i }}\n{%- endfor %}", "{% macro f() -%}\n  x\n{%- endmacro %}[{{ f() }}]",
    "{% if true %}{% for a in xs %}\n{{ a }}{% endfor %}\n{% endif %}", "{%if true%}a{%endif%}{%-if false-%}b{%-else-%} c {%-endif-%}",
    "{% raw %}\n{% endraw %}\nx", "{%-\traw\n-%} a {%\nendraw -%}\n b", "a {%- raw %} b {% endraw -%} c", "{{'x'}}\n\n{%- if true %}\ny{% endif %}",
    "{#-#}a{#+#}b", "a{##}b", "{% if true -%}  \n\n a{%- endif %}", "x\n\t {{- 1 }}\n\t {{ 2 }}", "{{ 1 +}}", "{% if true %}\n{# c #}\n{% endif %}\nz",
    "{% for x in xs %}" * 21 + "{% endfor %}" * 21, "{% for x in [1] %}" * 20 + "{% break %}" + "{% endfor %}" * 20,
    "{{ " + "(" * 40 + "1" + ")" * 40 + " }}", "{{ " + "+".join(["1"] * 100) + " }}", "{{ " + "-" * 50 + "1 }}",
]


def main():
    cases, group = [], ""
    for line in LINES.strip("\n").split("\n"):
        if line.startswith("# "):
            group, n = line[2:], 0
            continue
        n += 1
        cases.append({"name": f"{group} {n}", "template": line})
    for i, template in enumerate(MORE):
        cases.append({"name": f"lines {i + 1}", "template": template})
    for c in cases:
        c.update(oracle.render(c["template"], VARIABLES))
        if c.get("error") != "SyntaxError":
            c["names"] = oracle.names(c["template"])
    folder = pathlib.Path(__file__).parent
    with open(folder / "constructs.json", "w") as f:
        head = {"oracle": oracle.versions(), "variables": VARIABLES}
        f.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": [\n')
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
