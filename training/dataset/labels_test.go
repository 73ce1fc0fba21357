package dataset

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
)

// TestNumbersOfClasses: a number is that of a class where no name is a number, and else a
// name like another.
func TestNumbersOfClasses(t *testing.T) {
	for _, c := range []struct {
		names []string
		label string
		want  int
		says  string
	}{
		{[]string{"no", "yes"}, `1`, 1, ""},
		{[]string{"no", "yes"}, `"0"`, 0, ""},
		{[]string{"no", "yes"}, `2`, 0, `column "label" is "2", which is none of the 2 classes: no, yes`},
		{[]string{"1", "2", "3", "4", "5"}, `1`, 0, ""},
		{[]string{"1", "2", "3", "4", "5"}, `"5"`, 4, ""},
		{[]string{"1", "2", "3", "4", "5"}, `0`, 0, `column "label" is "0", which is none of the 5 classes: 1, 2, 3, 4, 5`},
		{[]string{"10", "many"}, `1`, 0, `column "label" is "1", which is none of the 2 classes: 10, many`},
	} {
		path := filepath.Join(t.TempDir(), "rows.jsonl")
		if err := os.WriteFile(path, []byte(`{"text":"a","label":`+c.label+`}`), 0o644); err != nil {
			t.Fatal(err)
		}
		columns := Columns{Text: "text", Label: "label"}
		s := &Set{}
		if _, err := s.openFiles([]string{path}, Options{Columns: columns}); err != nil {
			t.Fatal(err)
		}
		r, err := s.read(0)
		if err != nil {
			t.Fatal(err)
		}
		f := newLabelFormat(columns, &Labels{models.Classes{Task: models.Classify, Problem: models.SingleLabel, Names: c.names}})
		x, err := f.Example(r)
		if c.says == "" && (err != nil || x.Label != c.want) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s of %q is %d, %v, want %d %s", c.label, c.names, x.Label, err, c.want, c.says)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrderOfNames: names have one order, whichever they are met in.
func TestOrderOfNames(t *testing.T) {
	for _, c := range []struct{ met, want []string }{
		{[]string{"10", "9", "1"}, []string{"1", "9", "10"}},
		{[]string{"1", "01", "001", "2"}, []string{"001", "01", "1", "2"}},
		{[]string{"b", "10", "9"}, []string{"10", "9", "b"}},
	} {
		for range c.met {
			c.met = slices.Concat(c.met[1:], c.met[:1])
			names := slices.Clone(c.met)
			if sortNames(names); !slices.Equal(names, c.want) {
				t.Errorf("%q are sorted as %q", c.met, names)
			}
		}
	}
}
