package jinja

import (
	"context"
	"errors"
	"testing"
	"unicode/utf8"
)

// FuzzCompileRender compiles and renders whatever it is given: the result is an
// output or one of the package's errors.
func FuzzCompileRender(f *testing.F) {
	cases := readGoldens(f, "testdata/constructs.json")
	for _, g := range cases {
		f.Add(g.Template)
	}
	for _, source := range hostile {
		f.Add(source)
	}
	variables, err := variablesFrom(cases[0].Variables)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source string) {
		tpl, err := Compile(source)
		if err == nil {
			var out Output
			out, err = tpl.Render(context.Background(), variables, Limits{Steps: 100_000, Held: 1 << 20, Produced: 1 << 18})
			if !utf8.ValidString(out.Text) {
				t.Errorf("the output is not UTF-8: %q", out.Text)
			}
			for _, s := range out.Generated {
				_ = out.Text[s.Start:s.End]
			}
		}
		var run *RuntimeError
		if errors.As(err, &run) && run.Kind == "InternalError" {
			t.Error(err)
		}
	})
}

// FuzzFromJSON reads JSON, writes what it read and reads that again.
func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{`{"a": [1, -2.5e3, "é\u00e9\ud83d\ude00\n", null, true, false], "b": {}}`, `[NaN, Infinity, -Infinity]`, ` 12345678901234567890 `, `"\ud800"`, `{"a": 1, "a": 2}`, `[1,]`, `01`, `"`, `{`, `[[[[]]]]`, `-`, `1.`, `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := FromJSON(raw)
		if err != nil {
			return
		}
		r := newRendering(context.Background(), nil, Limits{Depth: 2 * maxJSONDepth})
		text := r.toJSON(v, jsonFormat{itemSeparator: ",", keySeparator: ":"})
		again, err := FromJSON([]byte(text))
		if err != nil {
			t.Fatalf("%q, written as %q: %v", raw, text, err)
		}
		if repeated := r.toJSON(again, jsonFormat{itemSeparator: ",", keySeparator: ":"}); repeated != text {
			t.Fatalf("%q, then %q", text, repeated)
		}
	})
}
