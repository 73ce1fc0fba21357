package jinja

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// hostile are templates that ask for more than any conversation needs: time,
// memory or depth.
var hostile = []string{
	`{{ 'x' * 100000000000 }}`,
	`{{ [0] * 10**9 }}`,
	`{{ (0,) * 10**18 }}`,
	`{{ 2 ** (10 ** 9) }}`,
	`{{ 2 ** (10 ** 30) }}`,
	`{{ (10 ** 4000) ** 4000 }}`,
	`{{ '%1000000000d' % 1 }}`,
	`{{ '%.1000000000f' % 1 }}`,
	`{{ '%*d' % (2000000000, 1) }}`,
	`{{ '%1000000000s' % 'x' }}`,
	`{{ '{:1000000000}'.format(1) }}`,
	`{{ '{:.1000000000f}'.format(1.5) }}`,
	`{{ '{:01000000000,}'.format(1) }}`,
	`{{ 'a'.ljust(10**9) }}`,
	`{{ 'a'.center(10**9) }}`,
	`{{ 'a'|center(10**9) }}`,
	`{{ '1'.zfill(10**9) }}`,
	`{{ '\t'.expandtabs(10**9) }}`,
	`{{ 'a\nb'|indent(10**9) }}`,
	`{{ [1]|tojson(indent=10**9) }}`,
	`{{ [1]|batch(10**9, 'x')|list }}`,
	`{{ [1]|slice(10**9)|list }}`,
	`{{ 'word'|wordwrap(1, wrapstring='x' * 100000000) }}`,
	`{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`,
	`{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('x', 'xx') %}{% endfor %}`,
	`{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`,
	`{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}`,
	`{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}`,
	`{% set ns = namespace(s=(1,), t=(1,)) %}{% for i in range(60) %}{% set ns.s = (ns.s, ns.s) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ ns.s == ns.t }}`,
	`{% set ns = namespace(s=(1,)) %}{% for i in range(60) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}`,
	`{% set ns = namespace(s=3) %}{% for i in range(60) %}{% set ns.s = ns.s * ns.s %}{% endfor %}`,
	`{% set ns = namespace(s=(1,)) %}{% for i in range(100000) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ ns.s }}`,
	`{% set ns = namespace(s=(1,)) %}{% for i in range(100000) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ {ns.s: 1} }}`,
	`{% set ns = namespace(s=(1,)) %}{% for i in range(100000) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ ns.s|tojson }}`,
	`{% set ns = namespace(s=(1,)) %}{% for i in range(100000) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ ns.s|pprint }}`,
	`{% set ns = namespace(s=(1,), t=(1,)) %}{% for i in range(100000) %}{% set ns.s = (ns.s,) %}{% set ns.t = (ns.t,) %}{% endfor %}{{ ns.s == ns.t }}`,
	`{% set ns = namespace(s=(1,), t=(1,)) %}{% for i in range(100000) %}{% set ns.s = (ns.s,) %}{% set ns.t = (ns.t,) %}{% endfor %}{{ ns.s < ns.t }}`,
	`{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}`,
	`{% set ns = namespace() %}{% set ns.self = [ns] %}{{ [ns]|pprint }}`,
	`{% set ns = namespace(g=[1]) %}{% for i in range(100000) %}{% set ns.g = ns.g|map('abs') %}{% endfor %}{{ ns.g|list }}`,
	`{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`,
	`{% for i in range(100000) %}{% for j in range(100000) %}xxxxxxxxxx{% endfor %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = range(100000)|list %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = range(100000)|sum %}{% endfor %}`,
	`{% set l = range(100000)|list %}{% for i in l %}{% set x = l|sort(reverse=true) %}{% endfor %}`,
	`{% set l = range(100000)|list %}{% for i in l %}{{ -1 in l }}{% endfor %}`,
	`{% set l = range(100000)|list %}{% for i in l %}{% set x = l == l|list %}{% endfor %}`,
	`{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% set x = 'b' in s %}{% endfor %}`,
	`{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% set x = s|length %}{% endfor %}`,
	`{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% set x = s == s %}{% endfor %}`,
	`{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% set x = s.upper() %}{% endfor %}`,
	`{% set s = 'é' * 5000000 %}{% for i in range(100000) %}{% set x = s[4999999] %}{% endfor %}`,
	`{% set s = 'é' * 5000000 %}{% for i in range(100000) %}{% set x = s.upper() %}{% endfor %}`,
	`{% set s = 'é' * 1000000 %}{% for i in range(100000) %}{% set x = s.strip('é' * 1000000) %}{% endfor %}`,
	`{% set s = 'a ' * 5000000 %}{% for i in range(100000) %}{% set x = s.split() %}{% endfor %}`,
	`{% set s = 'a ' * 1000000 %}{% for i in range(100000) %}{% set x = s|urlize %}{% endfor %}`,
	`{% set s = 'a-b ' * 1000000 %}{% for i in range(100000) %}{% set x = s|wordwrap(5) %}{% endfor %}`,
	`{% set s = 'a b ' * 1000000 %}{% for i in range(100000) %}{% set x = s|pprint %}{% endfor %}`,
	`{% set s = '&lt;' * 1000000 %}{% for i in range(100000) %}{% set x = s|striptags %}{% endfor %}`,
	`{% set s = '"' * 1000000 %}{% for i in range(100000) %}{% set x = s|tojson %}{% endfor %}`,
	`{% set s = '%s' * 1000000 %}{% for i in range(100000) %}{% set x = s % ((1,) * 1000000) %}{% endfor %}`,
	`{% set s = '{}' * 1000000 %}{% for i in range(100000) %}{% set x = s.format(*[1] * 1000000) %}{% endfor %}`,
	`{% set s = '1' * 1000000 %}{% for i in range(100000) %}{% set x = s|int(base=16) %}{% set x = s|float %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = 9 ** 9000 * 9 ** 9000 // 7 ** 9000 % 5 ** 8000 %}{% endfor %}`,
	`{% for i in range(100000) %}{% for j in range(100000) %}{% set x = 1.5|round(300) %}{% set x = '%.300f' % 1e300 %}{% set x = 1e300|round(-299) %}{% endfor %}{% endfor %}`,
	`{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}`,
	`{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}`,
	`{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}`,
	`{% set ns = namespace() %}{% set ns.l = [ns] %}{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}`,
	`{% block b %}{{ self.b() }}{% endblock %}`,
	`{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{{ caller() if caller }}{% endmacro %}{{ f() }}`,
	`{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}`,
	`{% for i in range(100000) %}{% set x %}{{ 'x' * 1000 }}{% endset %}{% endfor %}`,
	`{% for i in range(100000) %}{% for j in range(100000) %}{% set x = dict(a=1, b=2) %}{% endfor %}{% endfor %}`,
	`{{ dict.fromkeys(range(100000))|tojson }}{% for i in range(100000) %}{% set x = dict.fromkeys(range(100000)) %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = [1, 'a', 2.5]|pprint ~ {'a': [1]}|tojson ~ 'a b'|title %}{% for j in range(1000) %}{% set y = [j]|map('string')|join %}{% endfor %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = range(100000)|groupby('real') %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = (range(100000)|list)|unique|list %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = ','.join(range(50000)|map('string')) %}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = 'a'.join('b' * 1000) %}{% for j in range(100000) %}{{ missing }}{% endfor %}{% endfor %}`,
	`{% set x = 3 ** 10000 %}{% for i in range(100000) %}{% set y = {x: i} %}{% endfor %}`,
	`{% set s = 'é' * 1000000 %}{% for i in range(100000) %}{% set x = '%.1s' % s %}{% endfor %}`,
	`{% for i in range(100000) %}{{ given('%Z' * 1000) }}{% endfor %}`,
	`{% for i in range(100000) %}{{ given(x='%Z' * 1000) }}{% endfor %}`,
	`{% for i in range(100000) %}{% set x = 'ab'.translate(dict.fromkeys(range(97, 99), 'z' * 100000)) %}{% endfor %}`,
}

func TestLimits(t *testing.T) {
	given := map[string]Value{"given": NewFunction("given", func([]Value, map[string]Value) (Value, error) { return None, nil })}
	for _, source := range hostile {
		tpl, err := Compile(source)
		if err == nil {
			// A tenth of the defaults, since these take all that they get.
			_, err = tpl.Render(context.Background(), given, Limits{Steps: DefaultSteps / 10, Produced: DefaultProduced / 10, Held: DefaultHeld / 10})
		}
		var limit *LimitError
		var run *RuntimeError
		if !errors.As(err, &limit) && (!errors.As(err, &run) || run.Kind != "ValueError" && run.Kind != "OverflowError") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// TestLongWord wraps words in time that grows with their length: with its square
// this takes minutes.
func TestLongWord(t *testing.T) {
	for _, source := range []string{
		`{{ ('a' * 500000)|wordwrap(1)|length }}`, `{{ ('a-' * 250000)|wordwrap(2)|length }}`, `{{ ('ab-' * 160000)|wordwrap(3)|length }}`,
	} {
		tpl, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tpl.Render(context.Background(), nil, Limits{}); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestDepthOfSource(t *testing.T) {
	const n = 10_000
	for _, source := range []string{
		"{{ " + strings.Repeat("(", n), "{{ " + strings.Repeat("[", n), "{{ " + strings.Repeat("{1:", n),
		"{{ " + strings.Repeat("-", n) + "1 }}", "{{ " + strings.Repeat("not ", n) + "1 }}",
		"{{ 1" + strings.Repeat(" + 1", n) + " }}", "{{ x" + strings.Repeat(".x", n) + " }}",
		"{{ x" + strings.Repeat("|e", n) + " }}", "{{ x" + strings.Repeat("()", n) + " }}",
		"{{ 1" + strings.Repeat(" if 1 else 1", n) + " }}", "{{ 1" + strings.Repeat(" ** 1", n) + " }}",
		strings.Repeat("{% if 1 %}", n), strings.Repeat("{% for x in y %}", n),
		"{% set " + strings.Repeat("(", n), "{% set x" + strings.Repeat("|e", n) + " %}{% endset %}",
	} {
		_, err := Compile(source)
		var limit *LimitError
		if !errors.As(err, &limit) {
			t.Errorf("%.20s…: %v", source, err)
		}
	}
	// What is long without being deep compiles.
	for _, source := range []string{
		"{{ 1" + strings.Repeat(" ~ 1", n) + " }}", "{{ [" + strings.Repeat("1, ", n) + "] }}",
		"{% if 1 %}" + strings.Repeat("{% elif 1 %}", n) + "{% endif %}", strings.Repeat("{{ 1 }}", n),
	} {
		if _, err := Compile(source); err != nil {
			t.Errorf("%.20s…: %v", source, err)
		}
	}
}

// TestCancel ends the context from within the rendering, as a client that leaves
// does from without.
func TestCancel(t *testing.T) {
	left := errors.New("the client has left")
	ctx, cancel := context.WithCancelCause(context.Background())
	tpl, err := Compile(`{% for i in range(100000) %}{{ leave() if i == 10 }}{% endfor %}`)
	if err != nil {
		t.Fatal(err)
	}
	leave := NewFunction("leave", func([]Value, map[string]Value) (Value, error) {
		cancel(left)
		return None, nil
	})
	if _, err := tpl.Render(ctx, map[string]Value{"leave": leave}, Limits{}); !errors.Is(err, left) {
		t.Fatalf("got %v", err)
	}
}

// TestCountsRepeat asks for the same end at the same place each time.
func TestCountsRepeat(t *testing.T) {
	tpl, err := Compile(`{% for i in range(1000) %}{{ i }}{{ [i, 'x' * i]|tojson }}{% endfor %}`)
	if err != nil {
		t.Fatal(err)
	}
	var first *rendering
	for range 3 {
		r := newRendering(context.Background(), nil, Limits{})
		tpl.run(tpl.function.activate(r, nil, &environment{vars: map[string]Value{}}, r.root))
		if first != nil && (r.steps != first.steps || r.held != first.held || r.produced != first.produced) {
			t.Fatalf("%+v, then %+v", first.meter, r.meter)
		}
		first = r
	}
	for what, l := range map[string]Limits{
		"steps":          {Steps: first.steps},
		"bytes held":     {Held: first.held},
		"bytes produced": {Produced: first.produced},
	} {
		if _, err := tpl.Render(context.Background(), nil, l); err != nil {
			t.Errorf("just within the limit of %s: %v", what, err)
		}
		l = Limits{max(l.Steps-1, 0), max(l.Produced-1, 0), max(l.Held-1, 0), 0}
		var limit *LimitError
		if _, err := tpl.Render(context.Background(), nil, l); !errors.As(err, &limit) || limit.What != what {
			t.Errorf("just beyond the limit of %s: %v", what, err)
		}
	}
}

// TestLongConversation is the room that the defaults leave: a conversation of
// about 128k tokens, in few turns and in many, with 100 tools.
func TestLongConversation(t *testing.T) {
	source := `{%- if tools %}{{ '<tools>' }}{% for tool in tools %}{{ '\n' ~ tool|tojson }}{% endfor %}{% endif %}
{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] %}{% set i = messages|length - 1 - loop.index0 %}{% if message.role == 'user' and ns.last == messages|length - 1 %}{% set ns.last = i %}{% endif %}{% endfor %}
{%- for message in messages %}
{%- set content = message.content|trim %}
{%- if message.role == 'assistant' and '</think>' in content %}{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}
{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
{%- endfor %}`
	tpl, err := Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	var tools []Value
	for i := range 100 {
		property := func(name string) Pair {
			return Pair{String(name), Dict(Pair{String("type"), String("string")}, Pair{String("description"), String(strings.Repeat("what it is ", 10))})}
		}
		parameters := Dict(Pair{String("type"), String("object")}, Pair{String("properties"), Dict(property("a"), property("b"), property("c"), property("d"))})
		tools = append(tools, Dict(Pair{String("name"), String(fmt.Sprint("tool", i))}, Pair{String("parameters"), parameters}))
	}
	for _, turns := range []int{2, 100, 4000} {
		var messages []Value
		for i := range turns {
			role := []string{"user", "assistant"}[i%2]
			content := strings.Repeat("<think> ü </think> word ", 600_000/turns/24)
			messages = append(messages, Dict(Pair{String("role"), String(role)}, Pair{String("content"), String(content)}))
		}
		variables := map[string]Value{"messages": List(messages...), "tools": List(tools...)}
		tenth := Limits{Steps: DefaultSteps / 10, Produced: DefaultProduced / 10, Held: DefaultHeld / 10}
		if _, err := tpl.Render(context.Background(), variables, tenth); err != nil {
			t.Errorf("%d turns take more than a tenth of the limits: %v", turns, err)
		}
	}
}
