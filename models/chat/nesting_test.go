package chat

import (
	"strings"
	"testing"
	"time"
)

// What would take the engine's parser the process, or seconds, is refused at
// once; what hides a depth shows it.
func TestRefusesTooMuchTemplate(t *testing.T) {
	const large, deep = "it is too large", "it is nested too deeply"
	around := func(open, middle, end string, n int) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(end, n)
	}
	for name, c := range map[string]struct{ source, want string }{
		"large":             {strings.Repeat("x", maxSource+1), large},
		"brackets, large":   {"{{ " + around("(", "1", ")", 1_500_000) + " }}", large},
		"brackets":          {"{{ " + around("(", "1", ")", maxNesting+1) + " }}", deep},
		"lists":             {"{% set a = " + around("[", "1", "]", maxNesting+1) + " %}", deep},
		"if":                {around("{% if 1 %}", "x", "{% endif %}", maxNesting+1), deep},
		"if, trimmed":       {around("{%-if 1-%}", "x", "{%-endif-%}", maxNesting+1), deep},
		"if, joined":        {around("{%\v if1 %}", "x", "{%\u00a0endif %}", maxNesting+1), deep},
		"set":               {around("{% set a %}", "x", "{% endset %}", maxNesting+1), deep},
		"several":           {around("{% for a in b %}{% macro m() %}{% filter f %}{% generation %}", "x", "{% endgeneration %}{% endfilter %}{% endmacro %}{% endfor %}", maxNesting/4+1), deep},
		"raw ends nothing":  {around("{% if 1 %}{% raw %}{% endif %}{{ ( }}{% endraw %}{# {% endif %} #}", "x", "{% endif %}", maxNesting+1), deep},
		"strings":           {`{{ "}}" ~ ')' ~ ` + around(`("\")" ~ `, "1", ")", maxNesting+1) + " }}", deep},
		"text with a quote": {`don't {{ ` + around("(", "1", ")", maxNesting+1) + " }}", deep},
	} {
		start := time.Now()
		_, err := New(c.source)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: refused after %s", name, took)
		}
	}
	if _, err := (Source{Text: "x", Tools: strings.Repeat("x", maxSource+1)}).Compile(); err == nil || !strings.Contains(err.Error(), large) {
		t.Errorf("tools: error %v, want %q", err, large)
	}
}

// What is below the bounds is not in their way.
func TestTakesEnoughTemplate(t *testing.T) {
	for name, source := range map[string]string{
		"long":         strings.Repeat("x", maxSource),
		"brackets":     "{{ " + strings.Repeat("(", maxNesting) + "1" + strings.Repeat(")", maxNesting) + " }}",
		"blocks":       strings.Repeat("{% if 1 %}", maxNesting) + strings.Repeat("{% endif %}", maxNesting),
		"after blocks": strings.Repeat("{% if 1 %}{% endif %}{% set a = 1 %}{{ ((1)) }}", 2*maxNesting),
		"text":         strings.Repeat("( [ { don't ", 2*maxNesting),
	} {
		if _, err := New(source); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
