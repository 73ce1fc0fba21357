package jinja

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// TestDifferential compares with Jinja2 on templates drawn from a grammar: on a
// small sample, or on the file that JINJA_DIFFERENTIAL names
// (testdata/differential.py).
func TestDifferential(t *testing.T) {
	path := os.Getenv("JINJA_DIFFERENTIAL")
	if path == "" {
		path = "testdata/differential.jsonl"
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<26)
	var head struct{ Variables json.RawMessage }
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &head) != nil {
		t.Fatal("no variables in the first line")
	}
	compared, refused, differ := 0, map[string]int{}, 0
	for lines.Scan() {
		g := golden{Variables: head.Variables}
		if json.Unmarshal(lines.Bytes(), &g) != nil {
			continue // a line that was cut off
		}
		compared++
		difference, err := g.check(Limits{})
		if difference == "" {
			continue
		}
		if e := new(RuntimeError); errors.As(err, &e) && e.Kind == "NotImplementedError" {
			refused[e.Message]++
			continue
		}
		if differ++; differ <= 30 {
			t.Errorf("%q\n%s", g.Template, difference)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if differ > 0 || compared == 0 {
		t.Errorf("%d of %d templates differ", differ, compared)
	}
	t.Logf("%d templates compared, %d kinds of refusals: %v", compared, len(refused), refused)
}
