package jinja

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestAttributes(t *testing.T) {
	for source, want := range map[string]string{
		`{{ m.role }}{{ m['content'] }}{{ m.get('name', 'x') }}{{ m[key] }}`:                                            "content get name role",
		`{{ 'tool_calls' in m }}{{ 'x' not in m }}{{ 1 in m }}`:                                                         "tool_calls x",
		`{{ ms|selectattr('role', 'equalto', 'user')|map(attribute='a.b')|groupby('c')|list }}`:                         "a b c role",
		`{{ ms|sort(attribute='age,name')|join(',', attribute='id') }}{{ m|attr('q') }}`:                                "age id name q",
		`{% for m in ms %}{% if m.weight is defined %}{% macro f() %}{{ m.deep }}{% endmacro %}{% endif %}{% endfor %}`: "deep weight",
		`{{ 'plain' ~ "text" }}`: "",
	} {
		tpl, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(tpl.Attributes(), " "); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

func TestLinesOfErrors(t *testing.T) {
	for source, line := range map[string]int{
		"a\n{{ 1 + 'a' }}":                                          2,
		"{% set x = [\n1,\n2] %}\n{{ x() }}":                        4,
		"{% for i in [1] %}\n\n{{ missing.x }}{% endfor %}":         3,
		"{% macro f() %}\n{{ 1 / 0 }}\n{% endmacro %}\n\n{{ f() }}": 2,
	} {
		tpl, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tpl.Render(context.Background(), nil, Limits{})
		var run *RuntimeError
		if !errors.As(err, &run) || run.Line != line {
			t.Errorf("%q: %v, want line %d", source, err, line)
		}
	}
}

func TestValues(t *testing.T) {
	big, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	v := List(None, Bool(true), Int(-3), BigInt(big), BigInt(big.SetInt64(7)), Float(2.5), String("a\xffé"), Tuple(Int(1)),
		Dict(Pair{Int(1), String("x")}, Pair{Bool(true), String("y")}), Undefined("u"))
	got, err := ToString(v)
	const want = `[None, True, -3, 123456789012345678901234567890, 7, 2.5, 'a�é', (1,), {1: 'y'}, Undefined]`
	if err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestFromJSON(t *testing.T) {
	for source, want := range map[string]string{
		`{"b": 1, "a": 2.0, "b": 3}`:                  `{'b': 3, 'a': 2.0}`,
		`[1e3, -0, -0.0, 12345678901234567890, 1E-7]`: `[1000.0, 0, -0.0, 12345678901234567890, 1e-07]`,
		`"\u00e9\ud83d\ude00\n\/"`:                    "é😀\n/",
		` [NaN, Infinity, -Infinity, 1e999] `:         `[nan, inf, -inf, inf]`,
	} {
		v, err := FromJSON([]byte(source))
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, err := ToString(v); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", source, got, err, want)
		}
	}
	for source, why := range map[string]string{
		"":                        "a value is missing",
		"[1":                      "a ',' is missing",
		"[1,]":                    "a value is missing",
		`{"a" 1}`:                 "a ':' is missing",
		`{a: 1}`:                  "a key in double quotes is missing",
		"01":                      "extra data",
		"1 2":                     "extra data",
		`"a`:                      "does not end",
		"\"a\n\"":                 "control character",
		`"\x"`:                    "unknown escape",
		`"\ud800"`:                "lone surrogate",
		`"\ud800\u0041"`:          "lone surrogate",
		"\"\xff\"":                "not UTF-8",
		strings.Repeat("[", 1000): "nest too deeply",
		strings.Repeat("9", 5000): "4300 digits",
	} {
		if _, err := FromJSON([]byte(source)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.20q: %v, want %s", source, err, why)
		}
	}
}

func TestNamesAreCopies(t *testing.T) {
	tpl, err := Compile("{{ a.b }}")
	if err != nil {
		t.Fatal(err)
	}
	tpl.Names()[0], tpl.Attributes()[0] = "x", "x"
	if !slices.Equal(tpl.Names(), []string{"a"}) || !slices.Equal(tpl.Attributes(), []string{"b"}) {
		t.Error(tpl.Names(), tpl.Attributes())
	}
}
