package chat

import (
	"encoding/json"
	"testing"
)

// A template that takes tools is known by its source, and only one that does
// not renders the same with and without them.
func TestTakesTools(t *testing.T) {
	for text, want := range map[string]bool{
		"{% if tools %}{{ tools | tojson }}{% endif %}":                                      true,
		"{%- for tool in tools -%}{{ tool.function.name }}{%- endfor -%}":                    true,
		`{{ "}}" }}{{'%}' ~ tools}}`:                                                         true,
		"{% set x = {'a': {'b': tools}} %}{{ x.a.b }}":                                       true,
		"{# c #}{{ (tools or []) | length }}":                                                true,
		"{% macro f(x) %}{{ x | length }}{% endmacro %}{{ f(tools) }}":                       true,
		"{% for m in messages %}{{ m.content }}{% endfor %}":                                 false,
		"The tools: {{ messages[0].content }}":                                               false,
		"{# tools #}{{ messages[0].content }}":                                               false,
		"{% set mytools = 1 %}{% set tools2 = 2 %}{{ mytools }}{{ tools2 }}{{ 'no tools' }}": false,
		"": false,
	} {
		template, err := New(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := template.TakesTools(); got != want {
			t.Errorf("%s takes tools: %v", text, got)
		}
		messages := []Message{{Role: "user", Content: "x"}}
		without, err1 := template.Render(t.Context(), messages, Options{})
		with, err2 := template.Render(t.Context(), messages, Options{Tools: []json.RawMessage{[]byte(`{"function":{"name":"f"}}`)}})
		if err2 != nil || err1 == nil && (with != without) != want {
			t.Errorf("%s renders %q with tools and %q without: %v, %v", text, with, without, err1, err2)
		}
	}
	for tools, want := range map[string]bool{"": true, "{{ messages[0].content }}": false, "{{ tools[0] }}": true} {
		template, err := Source{Text: "{{ tools }}", Tools: tools}.Compile()
		if err != nil || template.TakesTools() != want {
			t.Errorf("beside the template for tools %q: %v, %v", tools, template.TakesTools(), err)
		}
	}
}

// What is given wins over a variable of its name, anything else is the
// variable.
func TestGiven(t *testing.T) {
	for name, want := range map[string]bool{
		"messages": true, "tools": true, "documents": true, "add_generation_prompt": true,
		"raise_exception": true, "strftime_now": true, "range": false, "bos_token": false, "enable_thinking": false,
	} {
		template, err := New("{{ " + name + " == 'mine' }}")
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Render(t.Context(), nil, Options{Variables: map[string]json.RawMessage{name: []byte(`"mine"`)}})
		if err != nil || Given(name) != want || (got != "True") != want {
			t.Errorf("%s: given %v, the variable shows: %s, %v", name, Given(name), got, err)
		}
	}
}

func TestReads(t *testing.T) {
	template, err := Source{Text: "{% for m in messages %}{{ m.role }}{{ m['content'] }}{{ m.get('weight') }}{% endfor %}{{ documents }}", Tools: "{{ messages[0].mood }}"}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"role": true, "content": true, "weight": true, "mood": true, "name": false, "messages": false} {
		if template.Reads(key) != want {
			t.Errorf("%s is read: %v", key, !want)
		}
	}
	if !template.TakesDocuments() || template.TakesTools() {
		t.Errorf("documents %v, tools %v", template.TakesDocuments(), template.TakesTools())
	}
}

// TestUnread: of the variables those are looked at that the template in force
// reads before it sets them.
func TestUnread(t *testing.T) {
	template, err := Source{
		Text:  "{% if not think is defined %}{% set think = 1 %}{% endif %}{% set own = 2 %}{{ own }}{% for x in messages %}{{ x.mood }}{% endfor %}",
		Tools: "{{ style }}",
	}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	for name, unread := range map[string][2]bool{ // without tools, with tools
		"think": {false, true}, "own": {true, true}, "x": {true, true}, "mood": {true, true}, "messages": {false, false}, "style": {true, false},
	} {
		o := Options{Variables: map[string]json.RawMessage{name: []byte("1")}}
		for i, tools := range [][]json.RawMessage{nil, {[]byte("{}")}} {
			if o.Tools = tools; (template.Unread(o) != "") != unread[i] {
				t.Errorf("%s with %d tools: %q is not read", name, len(tools), template.Unread(o))
			}
		}
	}
}

func TestMarksGeneration(t *testing.T) {
	for source, want := range map[Source]bool{
		{Text: "{% generation %}a{% endgeneration %}"}:                                                 true,
		{Text: "{%- generation -%}a{%- endgeneration -%}"}:                                             true,
		{Text: "{{ generation }}"}:                                                                     false,
		{Text: "{% generation %}a{% endgeneration %}", Tools: "a"}:                                     false,
		{Text: "{% generation %}a{% endgeneration %}", Tools: "b{% generation %}a{% endgeneration %}"}: true,
	} {
		template, err := source.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if template.MarksGeneration() != want {
			t.Errorf("%+v marks: %v", source, !want)
		}
	}
}
