package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// A task is what one adapter learns.
type task struct {
	name  string // of its recipe, its data and its adapter
	says  string // what it does
	terms string // of its data
	// rows makes what is learnt and what is held out, of the files that read reads.
	rows func(read reader) (learnt, held []row, err error)
	// answer is how many tokens an answer may have that is to be right to the last
	// letter; 0: there is no one right answer.
	answer int
	// rank is that of the adapter that is extracted from a whole fine-tune; 0: the
	// run makes an adapter.
	rank int
	// example is a prompt that is neither learnt nor held out.
	example string
}

// A reader reads a source by its path.
type reader func(path string) ([]byte, error)

// A row is an example. All tasks have one form of prompt, so that one prompt can
// be sent to all adapters.
type row struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
}

func newRow(input, output string) row { return row{prompt(input), " " + output} }

func prompt(input string) string { return "Input: " + input + "\nOutput:" }

var tasks = []task{
	{
		name: "sst2", says: "tells whether a film review is positive or negative",
		terms: "SST-2 of GLUE (Socher et al., 2013; Wang et al., 2019), phrases of film reviews, published for research: use the adapter for that.",
		rows:  sentiment, answer: 4, example: "the cast is wonderful and the story never drags",
	},
	{
		name: "e2e", says: "puts facts about a restaurant into a sentence",
		terms: "E2E NLG (Novikova et al., 2017), its development set: CC BY-SA 4.0, and so is this adapter.",
		rows:  restaurants, example: "name[The Golden Lion], eatType[pub], food[French], priceRange[cheap], area[riverside], near[Green Park]",
	},
	{
		name: "banking", says: "names what a bank's customer wants, one of 77 labels",
		terms: "BANKING77 (Casanueva et al., 2020): CC BY 4.0.",
		rows:  intents, answer: 24, example: "Somebody took my purse and my card was in it, what now?",
	},
	{
		name: "json", says: "tells what a request wants, when and how politely, as JSON",
		terms: "Rows made by scripts/builtin: Apache-2.0, as the repository.",
		rows:  wants, answer: 40, example: "Would you book a table for six at the Red Fox on the river tonight?",
	},
	{
		name: "sort", says: "puts digits in order", rank: 8,
		terms: "Rows made by scripts/builtin: Apache-2.0, as the repository.",
		rows:  sorted, answer: 16, example: "7 2 9 4 1",
	},
	{
		name: "drama", says: "answers as a play of Shakespeare's goes on",
		terms: "Plays of William Shakespeare, in the public domain.",
		rows:  speeches, example: "What news do you bring from the north, good cousin?",
	},
}

// writeData writes the rows of every task.
func writeData(ctx context.Context, from, to string, out io.Writer) error {
	for _, s := range sources {
		if err := s.fetch(ctx, from, to, out); err != nil {
			return err
		}
	}
	for _, t := range tasks {
		learnt, held, err := t.rows(func(path string) ([]byte, error) {
			return os.ReadFile(filepath.Join(to, filepath.FromSlash(path)))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		shown := func(r row) bool { return r.Prompt == prompt(t.example) }
		learnt, held = slices.DeleteFunc(learnt, shown), slices.DeleteFunc(held, shown)
		known := map[string]bool{}
		for _, r := range learnt {
			known[r.Prompt] = true
		}
		held = slices.DeleteFunc(held, func(r row) bool { return known[r.Prompt] }) // data sets repeat themselves
		dir := filepath.Join(to, "tasks", t.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for name, rows := range map[string][]row{"train.jsonl": learnt, "test.jsonl": held} {
			if err := writeRows(filepath.Join(dir, name), rows); err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "%s: %d rows, and %d held out\n", dir, len(learnt), len(held))
	}
	return nil
}

func writeRows(path string, rows []row) error {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	for _, r := range rows {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	return disk.Write(path, b.Bytes())
}
