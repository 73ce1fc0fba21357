package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rowsOf opens a file of a task and returns what its rows say.
func rowsOf(t *testing.T, k *Task, name, content string) (rows []TaskRow, err error) {
	t.Helper()
	s, err := Open([]string{write(t, name, content)}, encoder(t, 4096), Options{Task: k, Header: k.Header})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for i := range s.Len() {
		r, err := s.read(i)
		if err != nil {
			t.Fatal(err)
		}
		row, err := k.Row(r)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// TestTasksInBothForms: a row in GLUE's own table says what it says as Hugging Face
// has it.
func TestTasksInBothForms(t *testing.T) {
	for _, c := range []struct{ task, table, rows, want string }{
		{"SST-2", "sentence\tlabel\na fine film \t1\n", `{"sentence":"a fine film ","label":1,"idx":0}`, "[{[a fine film ] 1 0}]"},
		{"CoLA", "gj04\t0\t*\tThey drank the pub.\n", `{"sentence":"They drank the pub.","label":0,"idx":3}`, "[{[They drank the pub.] 0 0}]"},
		{"cola", "sentence\tlabel\nThey drank the pub.\tunacceptable\n", `{"sentence":"They drank the pub.","label":"unacceptable"}`, "[{[They drank the pub.] 0 0}]"},
		{
			"MRPC", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\ta \"b\tc\n",
			`{"sentence1":"a \"b","sentence2":"c","label":1,"idx":0}`, "[{[a \"b c] 1 0}]",
		},
		{
			"QQP", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n4\t5\t6\tWhy?\tHow?\t0\n",
			`{"question1":"Why?","question2":"How?","label":0,"idx":4}`, "[{[Why? How?] 0 0}]",
		},
		{"STS-B", "index\tsentence1\tsentence2\tscore\n0\ta\tb\t3.800\n", `{"sentence1":"a","sentence2":"b","label":3.8}`, "[{[a b] 4 3.8}]"},
		{
			"MNLI", "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\ta\tb\tneutral\tcontradiction\n",
			`{"premise":"no","sentence1":"a","sentence2":"b","label":2}`, "[{[a b] 2 0}]",
		},
		{"MNLI_mismatched", "index\tsentence1\tsentence2\tgold_label\n0\ta\tb\tneutral\n", `{"sentence1":"a","sentence2":"b","label":1}`, "[{[a b] 1 0}]"},
		{"QNLI", "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tnot_entailment\n", `{"question":"Who?","sentence":"He.","label":1,"idx":0}`, "[{[Who? He.] 1 0}]"},
		{"RTE", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n", `{"sentence1":"a","sentence2":"b","label":0,"idx":0}`, "[{[a b] 0 0}]"},
		{"WNLI", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n", `{"sentence1":"a","sentence2":"b","label":"entailment"}`, "[{[a b] 1 0}]"},
	} {
		k, err := NewTask(c.task)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{"train.tsv": c.table, "train.jsonl": c.rows} {
			rows, err := rowsOf(t, k, name, content)
			if got := fmt.Sprint(rows); err != nil || got != c.want {
				t.Errorf("%s, %s: %s, %v, want %s", c.task, name, got, err, c.want)
			}
		}
		if len(k.Answers) == 0 || k.Classes != nil && len(k.Answers) != len(k.Classes) || k.prompt([]string{"a", "b"}) == "" || len(k.Metrics) == 0 {
			t.Errorf("%s: %+v", c.task, k)
		}
	}
	if names := Tasks(); len(names) != 10 {
		t.Errorf("%d tasks: %q", len(names), names)
	}
}

// TestRowsThatAreNoTasks: what is wrong with a row is named by file and line.
func TestRowsThatAreNoTasks(t *testing.T) {
	for _, c := range []struct{ task, name, content, want string }{
		{"rte", "a.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n1\ta\tb\tperhaps\n", `a.tsv:3: column "label" is "perhaps", want entailment or not_entailment`},
		{"rte", "a.jsonl", `{"sentence1":"a","sentence2":"b","label":-1}`, `a.jsonl:1: column "label" is "-1"`},
		{"rte", "a.jsonl", `{"sentence1":"a","sentence2":"b","label":2}`, `a.jsonl:1: column "label" is "2"`},
		{"rte", "a.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n", `a.tsv:2: column "label" is missing`},
		{"mrpc", "a.jsonl", `{"sentence1":"a","label":0}`, `a.jsonl:1: column "#2 String" is missing`},
		{"mnli", "a.tsv", "index\tsentence1\tsentence2\tgold_label\n0\ta\tb\t-\n", `a.tsv:2: column "gold_label" is "-"`},
		{"stsb", "a.jsonl", `{"sentence1":"a","sentence2":"b","label":5.5}`, `a.jsonl:1: column "label" is "5.5", want a number from 0 to 5`},
		{"stsb", "a.jsonl", `{"sentence1":"a","sentence2":"b","label":"NaN"}`, `a.jsonl:1: column "label" is "NaN", want a number from 0 to 5`},
		{"cola", "a.tsv", "gj04\t1\tthe mark is missing\n", `a.tsv:1: 3 columns, want 4`},
		{"sst2", "a.parquet", "PAR1", "a.parquet: the kind of file is not known"},
	} {
		k, err := NewTask(c.task)
		if err == nil {
			_, err = rowsOf(t, k, c.name, c.content)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.task, err, c.want)
		}
	}
	if _, err := NewTask("snli"); err == nil || !strings.Contains(err.Error(), "mnlimismatched") {
		t.Error(err)
	}
}

// TestFilesOfTasks: the files of a folder are found under GLUE's names and Hugging
// Face's.
func TestFilesOfTasks(t *testing.T) {
	for _, c := range []struct {
		task       string
		there      []string
		train, dev string
	}{
		{"rte", nil, "train.tsv", "dev.tsv"},
		{"rte", []string{"train.jsonl", "validation.jsonl"}, "train.jsonl", "validation.jsonl"},
		{"rte", []string{"train.jsonl", "train.tsv", "dev.csv"}, "train.tsv", "dev.csv"},
		{"mnli", []string{"train.tsv", "dev_matched.tsv", "dev_mismatched.tsv"}, "train.tsv", "dev_matched.tsv"},
		{"mnli-mismatched", []string{"train.json", "validation_matched.json", "validation_mismatched.json"}, "train.json", "validation_mismatched.json"},
	} {
		dir := t.TempDir()
		for _, name := range c.there {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		k, err := NewTask(c.task)
		if err != nil {
			t.Fatal(err)
		}
		if train, dev := k.Files(dir); train != filepath.Join(dir, c.train) || dev != filepath.Join(dir, c.dev) {
			t.Errorf("%s with %q: %s, %s", c.task, c.there, train, dev)
		}
	}
}

// TestScoreOfATask: GLUE's table has the mean of the measures of a task, and of CoLA
// Matthews alone.
func TestScoreOfATask(t *testing.T) {
	scores := map[string]float64{"accuracy": 0.5, "f1": 0.75, "matthews": 0.125, "pearson": 1, "spearman": 0.5}
	for task, want := range map[string]float64{"mrpc": 0.625, "qqp": 0.625, "stsb": 0.75, "cola": 0.125, "rte": 0.5} {
		k, err := NewTask(task)
		if err != nil || k.Score(scores) != want {
			t.Errorf("%s: %v, %v", task, k.Score(scores), err)
		}
	}
	if k, _ := NewTask("rte"); !slices.Equal(k.Metrics, []string{"accuracy"}) {
		t.Error(k.Metrics)
	}
}
