package chat

import (
	"strings"
	"testing"
)

// A template that comes with an adapter takes neither all memory nor, by a
// recursion without an end, the process.
func TestHostileTemplates(t *testing.T) {
	for source, want := range map[string]string{
		`{% for i in range(1000000000) %}x{% endfor %}`:                                         "range has more than 100000 items",
		`{% for i in range(0, -1000000000, -1) %}x{% endfor %}`:                                 "range has more than 100000 items",
		`{% for i in range(1, 2, 0) %}x{% endfor %}`:                                            "the last not 0",
		`{% for i in range("a") %}x{% endfor %}`:                                                "whole numbers",
		`{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`:                                       "macros are called more than 100000 times",
		`{%- macro m(x) -%} {{ m(x) }} {%- endmacro -%}{{ m("}}") }}`:                           "macros are called more than 100000 times",
		`{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}`: "macros are called more than 100000 times",
	} {
		template, err := New(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if _, err := template.Render(nil, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// What is counted does not show.
func TestRangesAndMacros(t *testing.T) {
	for source, want := range map[string]string{
		`{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(2, 5) %}{{ i }}{% endfor %}{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}`: "012234531",
		"{% macro m(x) %}\n  {% if x %}{{ x }}{% endif %}\n{% endmacro %}{{ m(1) }}|{{ m(2) }}":                                                    "1|2",
		"{%- macro m(x) -%}\n  <{{ x }}> \n{%- endmacro -%}\n {{ m(1) }}":                                                                          "<1>",
		"{% macro m(n) %}{% if n %}{{ n }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}":                                                       "321",
	} {
		template, err := New(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if got, err := template.Render(nil, Options{}); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", source, got, err, want)
		}
	}
}
