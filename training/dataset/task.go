package dataset

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/models"
)

// Task is one of GLUE's (Wang et al., 2019) as text for causal models: the
// prompt, the words for the labels, and the metric that GLUE reports.
type Task struct {
	Name    string
	Header  []string // where the file has none
	Metrics []string
	Answers []string // by label
	labels  []string // by label, as the file spells them
	label   string   // the label's column
	prompt  func(get func(column string) string) string
	columns []string
	Regress bool // the label is a number from 0 to 5: answers are its roundings
}

var tasks = map[string]*Task{
	"sst2": {
		Metrics: []string{"accuracy"}, label: "label", labels: []string{"0", "1"}, Answers: []string{" negative", " positive"},
		columns: []string{"sentence"},
		prompt: func(c func(string) string) string {
			return "Review: " + strings.TrimSpace(c("sentence")) + "\nSentiment:"
		},
	},
	"cola": {
		Header: []string{"source", "label", "mark", "sentence"}, Metrics: []string{"matthews", "accuracy"},
		label: "label", labels: []string{"0", "1"}, Answers: []string{" no", " yes"}, columns: []string{"sentence"},
		prompt: func(c func(string) string) string {
			return "Sentence: " + c("sentence") + "\nIs it grammatical? Answer:"
		},
	},
	"rte": {
		Metrics: []string{"accuracy"}, label: "label", labels: []string{"not_entailment", "entailment"}, Answers: []string{" no", " yes"},
		columns: []string{"sentence1", "sentence2"},
		prompt: func(c func(string) string) string {
			return c("sentence1") + "\nQuestion: Does it follow that \"" + c("sentence2") + "\"? Answer:"
		},
	},
	"mrpc": {
		Metrics: []string{"f1", "accuracy"}, label: "Quality", labels: []string{"0", "1"}, Answers: []string{" no", " yes"},
		columns: []string{"#1 String", "#2 String"},
		prompt: func(c func(string) string) string {
			return "Sentence 1: " + c("#1 String") + "\nSentence 2: " + c("#2 String") + "\nDo they mean the same? Answer:"
		},
	},
	"stsb": {
		Metrics: []string{"pearson", "spearman"}, label: "score", Regress: true, Answers: []string{" 0", " 1", " 2", " 3", " 4", " 5"},
		columns: []string{"sentence1", "sentence2"},
		prompt: func(c func(string) string) string {
			return "Sentence 1: " + c("sentence1") + "\nSentence 2: " + c("sentence2") + "\nSimilarity from 0 to 5:"
		},
	},
}

// Tasks lists the tasks by name.
func Tasks() []string { return slices.Sorted(maps.Keys(tasks)) }

// NewTask returns the task of that name: "sst2", "SST-2".
func NewTask(name string) (*Task, error) {
	key := strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
	t, ok := tasks[key]
	if !ok {
		return nil, fmt.Errorf("task %q is not known (%s)", name, strings.Join(Tasks(), ", "))
	}
	named := *t
	named.Name = key
	return &named, nil
}

// Files returns the training and validation files of a GLUE folder.
func (t *Task) Files(dir string) (train, dev string) {
	return filepath.Join(dir, "train.tsv"), filepath.Join(dir, "dev.tsv")
}

// Labels are the task's for a head, and the columns that they and the texts are in.
func (t *Task) Labels(c Columns) (*Labels, Columns) {
	l := &Labels{models.Classes{Task: models.Classify, Problem: models.SingleLabel, Names: t.labels}}
	if t.Regress {
		l.Problem, l.Names = models.Regression, models.ClassNames(1)
	}
	c.Text, c.Pair, c.Label = t.columns[0], "", t.label
	if len(t.columns) > 1 {
		c.Pair = t.columns[1]
	}
	return l, c
}

// Reads implements Format.
func (t *Task) Reads() []string { return append([]string{t.label}, t.columns...) }

// Example implements Format.
func (t *Task) Example(r *Record) (Example, error) {
	for _, c := range t.Reads() {
		if _, err := r.Text(c); err != nil {
			return Example{}, err
		}
	}
	get := func(column string) string {
		v, _ := r.Text(column) // looked at above
		return v
	}
	label, value := slices.Index(t.labels, get(t.label)), 0.0
	if t.Regress {
		v, err := strconv.ParseFloat(get(t.label), 64)
		if err != nil || v < 0 || v > 5 {
			return Example{}, r.fault("column %q is %q, want a number from 0 to 5", t.label, get(t.label))
		}
		value, label = v, int(v+0.5)
	}
	if label < 0 {
		return Example{}, r.fault("column %q is %q, want %s", t.label, get(t.label), strings.Join(t.labels, " or "))
	}
	x := Answered(t.prompt(get), t.Answers[label])
	x.Label, x.Value = label, value
	return x, nil
}
