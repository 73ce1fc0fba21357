package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCellsAreKept: a cell is found again by its setting, and one of another is not.
func TestCellsAreKept(t *testing.T) {
	b := &bench{results: t.TempDir(), out: &bytes.Buffer{}}
	s := setting{By: ours, Method: "lora", Task: "STS-B", Base: "tiny", Tokens: 100, Steps: 3, Batch: batchSize, Rate: 1e-3, Seed: 1}
	if c, err := b.finished(s); c != nil || err != nil {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := b.keep(&cell{setting: s, Score: 0.1234567890123456789, Processor: 1, Scores: map[string]float64{"pearson": 1.0 / 3}}); err != nil {
		t.Fatal(err)
	}
	c, err := b.finished(s)
	if err != nil || c == nil || c.Scores["pearson"] != 1.0/3 || c.Score != 0.1234567890123456789 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, other := range []func(*setting){
		func(s *setting) { s.Tokens++ }, func(s *setting) { s.Seed++ }, func(s *setting) { s.Rate /= 2 }, func(s *setting) { s.By = theirs }, func(s *setting) { s.Task = "RTE" },
	} {
		changed := s
		other(&changed)
		if c, err := b.finished(changed); c != nil || err != nil {
			t.Errorf("%+v is there: %v", changed, err)
		}
	}
	if err := os.WriteFile(b.path(s), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.finished(s); err == nil || !strings.Contains(err.Error(), "lora-sts-b.json") {
		t.Error(err)
	}
}

// TestReplacedCells: a cell is not there any more once its run has begun anew.
func TestReplacedCells(t *testing.T) {
	b := &bench{results: t.TempDir(), train: filepath.Join(t.TempDir(), "none"), out: &bytes.Buffer{}}
	c := &cell{setting: setting{By: ours, Method: "lora", Task: "RTE"}}
	if err := b.keep(c); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(t.Context(), c, nil); err == nil {
		t.Fatal("there is no program, and it has run")
	}
	if found, err := b.finished(c.setting); found != nil || err != nil {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestDiffering counts rows that have other scores, and those that have none.
func TestDiffering(t *testing.T) {
	want := [][]float32{{0.1, 0.2}, {0.3}, {1, 2}}
	for _, c := range []struct {
		got  [][]float64
		want int
	}{
		{[][]float64{{0.1, 0.2}, {0.3}, {1, 2}}, 0},
		{[][]float64{{0.1, 0.2}, {0.30000007}, {1, 2}}, 1},
		{[][]float64{{0.2, 0.1}, {0.3}, {1, 2, 3}}, 2},
		{[][]float64{{0.1, 0.2}}, 2},
		{nil, 3},
	} {
		if n := differing(want, c.got); n != c.want {
			t.Errorf("%v: %d, want %d", c.got, n, c.want)
		}
	}
}

// TestTable: a method's row has its scores, and a cell that is not there a dash.
func TestTable(t *testing.T) {
	b := &bench{base: "x/tiny", tasks: []string{"RTE", "CoLA"}, tokens: 1000, seed: 1, known: methodsOf}
	columns := []column{
		{"lora", map[string]*cell{
			"RTE":  {setting: setting{Rate: 1e-3}, Parameters: 700, Score: 0.5, Peak: 3 << 20, Processor: 60, On: "one"},
			"CoLA": {setting: setting{Rate: 1e-3}, Parameters: 700, Score: -0.25, Peak: 5 << 20, Processor: 30, On: "another"},
		}},
		{"full", map[string]*cell{"RTE": {setting: setting{Rate: 1e-4}, Parameters: 9000, Score: 0.625, Peak: 9 << 20, Processor: 6}}},
	}
	text := b.markdown(columns)
	for _, want := range []string{
		"| method | rate | parameters | RTE | CoLA | mean | peak memory | processor minutes | of |\n|---|---:|---:|---:|---:|---:|---:|---:|---|\n",
		"| lora | 0.001 | 700 | 50.0 | -25.0 | 12.5 | 5 MiB | 1.5 | one, another |",
		"| full | 0.0001 | 9000 | 62.5 | – | – | 9 MiB | 0.1 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	plot := b.plot(columns)
	if n := strings.Count(plot, "<rect"); n != 3+2 || strings.Contains(plot, `height="-`) {
		t.Errorf("%d rectangles in\n%s", n, plot)
	}
}

// TestWhatARunSays reads what a run leaves.
func TestWhatARunSays(t *testing.T) {
	if n, err := trained("method       lora: 74498 parameters trained in 6 steps\n"); n != 74498 || err != nil {
		t.Error(n, err)
	}
	if _, err := trained("nothing"); err == nil {
		t.Error("nothing is trained")
	}
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("{\"step\":1,\"tokens\":10}\n{\"step\":1,\"validation\":{\"accuracy\":0.5}}\n{\"step\":2,\"tokens\":7}\n{\"step\":2,\"validation\":{\"accuracy\":0.75}}\n")
	if scores, tokens, err := journal(path); err != nil || tokens != 17 || scores["accuracy"] != 0.75 {
		t.Error(scores, tokens, err)
	}
	write("{\"step\":1,\"tokens\":10}\n")
	if _, _, err := journal(path); err == nil || !strings.Contains(err.Error(), "no validation") {
		t.Error(err)
	}
}

// TestAsked: what is asked wrongly is named.
func TestAsked(t *testing.T) {
	for _, args := range [][]string{nil, {"stew"}, {"run", "-methods", "lora,sorcery"}, {"run", "-top", "0"}, {"run", "-top", "2,two"}, {"run", "-top", "2,2"}} {
		if err := run(context.Background(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// TestTops: LoRA on the highest blocks is trained and named as a method of its own.
func TestTops(t *testing.T) {
	all, err := withTops("1,4")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(namesOf(all), " "); got != "lora lora-top1 lora-top4 bitfit houlsby lisa full" {
		t.Error(got)
	}
	if m := all[2]; m.trains != "lora" || !strings.HasSuffix(strings.Join(m.flags, " "), "all-linear --top-layers 4") || len(methodsOf[0].flags) != 6 {
		t.Errorf("%+v", m)
	}
}
