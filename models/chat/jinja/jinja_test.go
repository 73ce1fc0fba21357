package jinja

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"
	"unicode/utf8"
)

// A golden is a template with what Jinja2 makes of it.
type golden struct {
	Name      string
	Template  string
	Variables json.RawMessage // a dictionary
	Output    *string
	Spans     [][2]int // in characters
	Error     string   // Python's class; SyntaxError where it does not compile
	Line      int      // of a SyntaxError
	Names     []string // that the template reads
}

// check renders the template and says how the result differs from the golden's.
// An empty text is none.
func (g golden) check(l Limits) (difference string, err error) {
	out, err := g.render(l)
	if err != nil {
		kind, line := errorKind(err)
		switch {
		case g.Error == "":
			return "it fails: " + err.Error() + "\nwant " + *g.Output, err
		case g.Error != kind:
			return "it fails: " + err.Error() + "\nwant " + g.Error, err
		case g.Line != 0 && g.Line != line:
			return "it fails: " + err.Error() + "\nin another line", err
		}
		return "", err
	}
	if g.Error != "" {
		return "it renders " + out.Text + "\nwant " + g.Error, nil
	}
	if out.Text != *g.Output {
		return "got  " + out.Text + "\nwant " + *g.Output, nil
	}
	if len(out.Generated) != len(g.Spans) {
		return "another number of spans", nil
	}
	for i, s := range out.Generated {
		got := [2]int{utf8.RuneCountInString(out.Text[:s.Start]), utf8.RuneCountInString(out.Text[:s.End])}
		want := g.Spans[i]
		n := utf8.RuneCountInString(out.Text)
		if got != [2]int{min(want[0], n), min(want[1], n)} {
			return "another span", nil
		}
	}
	return "", nil
}

func (g golden) render(l Limits) (Output, error) {
	variables, err := variablesFrom(g.Variables)
	if err != nil {
		return Output{}, err
	}
	t, err := Compile(g.Template)
	if err != nil {
		return Output{}, err
	}
	return t.Render(context.Background(), variables, l)
}

var errRaised = errors.New("raised by the template")

// variablesFrom reads a dictionary of JSON and adds what transformers adds.
func variablesFrom(raw json.RawMessage) (map[string]Value, error) {
	variables := map[string]Value{
		"messages": List(), "tools": None, "documents": None, "add_generation_prompt": Bool(false),
		"raise_exception": NewFunction("raise_exception", func([]Value, map[string]Value) (Value, error) {
			return nil, errRaised
		}),
	}
	if len(raw) > 0 {
		v, err := FromJSON(raw)
		if err != nil {
			return nil, err
		}
		d := v.(*dict)
		for i, k := range d.keys {
			variables[textOf(k)] = d.values[i]
		}
	}
	return variables, nil
}

func errorKind(err error) (kind string, line int) {
	var syntax *SyntaxError
	var run *RuntimeError
	var limit *LimitError
	switch {
	case errors.As(err, &syntax):
		return "SyntaxError", syntax.Line
	case errors.As(err, &run):
		return run.Kind, run.Line
	case errors.As(err, &limit):
		return "LimitError", 0
	case errors.Is(err, errRaised):
		return "TemplateError", 0
	}
	return err.Error(), 0
}

func readGoldens(t testing.TB, path string) []golden {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Variables json.RawMessage // of cases without their own
		Cases     []golden
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for i := range file.Cases {
		if file.Cases[i].Variables == nil {
			file.Cases[i].Variables = file.Variables
		}
	}
	return file.Cases
}

func TestConstructs(t *testing.T) {
	for _, g := range readGoldens(t, "testdata/constructs.json") {
		if difference, _ := g.check(Limits{}); difference != "" {
			t.Errorf("%s: %q\n%s", g.Name, g.Template, difference)
		}
		if g.Error == "SyntaxError" {
			continue
		}
		tpl, err := Compile(g.Template)
		if err != nil {
			continue // reported above
		}
		names := slices.DeleteFunc(tpl.Names(), func(n string) bool { return n == "raise_exception" })
		if !slices.Equal(names, g.Names) {
			t.Errorf("%s: %q\nreads %q, want %q", g.Name, g.Template, names, g.Names)
		}
	}
}
