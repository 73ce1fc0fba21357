package dataset

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/metric"
)

// Task is one of GLUE's (Wang et al., 2019): which columns of its files hold the
// texts and the label, in the tables of GLUE's own archives or in rows as Hugging
// Face has them, what its classes are called, and the measures that GLUE reports.
// For causal models it has a prompt and words for the classes.
type Task struct {
	Name    string
	Header  []string // of GLUE's table where that has none
	Metrics []string
	Classes []string // by number, as Hugging Face numbers them; nil: the label is a value from 0 to 5
	Answers []string // by class; of values, their roundings

	table  []string   // measures that GLUE's table takes the mean of; nil: Metrics
	texts  [][]string // for each text the columns that may hold it
	labels []string   // the columns that may hold the label
	dev    []string   // names of the file to validate on, without the extension
	prompt func(texts []string) string
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

// taskFiles are the extensions of a task's files, those of GLUE's archives first.
var taskFiles = []string{".tsv", ".jsonl", ".json", ".csv"}

// Files returns the training and validation files of a folder of the task, the names
// in GLUE's archive where it has none.
func (t *Task) Files(dir string) (train, dev string) {
	find := func(names []string) string {
		for _, name := range names {
			for _, extension := range taskFiles {
				if path := filepath.Join(dir, name+extension); isFile(path) {
					return path
				}
			}
		}
		return filepath.Join(dir, names[0]+taskFiles[0])
	}
	dev = find([]string{"dev", "validation"})
	if len(t.dev) > 0 {
		dev = find(t.dev)
	}
	return find([]string{"train"}), dev
}

func isFile(path string) bool {
	stat, err := os.Stat(path)
	return err == nil && !stat.IsDir()
}

// headed reports whether the first row of a table names its columns: it has the
// task's.
func (t *Task) headed(cells []string) bool {
	for _, names := range append(slices.Clone(t.texts), t.labels) {
		if !slices.ContainsFunc(cells, func(c string) bool { return slices.Contains(names, c) }) {
			return false
		}
	}
	return true
}

// Score is the one number that GLUE's table has of the task: the mean of its measures.
func (t *Task) Score(scores map[string]float64) float64 {
	if t.table != nil {
		return metric.Mean(scores, t.table)
	}
	return metric.Mean(scores, t.Metrics)
}

// TaskRow is what a row of a task says.
type TaskRow struct {
	Texts []string // one, or the two of a pair
	Class int      // of values, the answer that is nearest
	Value float64
}

// Row reads a row.
func (t *Task) Row(r *Record) (TaskRow, error) {
	var row TaskRow
	for _, columns := range t.texts {
		text, _, err := t.column(r, columns)
		if err != nil {
			return row, err
		}
		row.Texts = append(row.Texts, text)
	}
	label, column, err := t.column(r, t.labels)
	if err != nil {
		return row, err
	}
	if t.Classes == nil {
		v, err := strconv.ParseFloat(label, 64)
		if err != nil || !(v >= 0 && v <= 5) {
			return row, r.fault("column %q is %q, want a number from 0 to 5", column, clip(label))
		}
		row.Value, row.Class = v, int(math.Floor(v+0.5))
		return row, nil
	}
	row.Class = slices.Index(t.Classes, label)
	if n, err := strconv.Atoi(label); row.Class < 0 && err == nil && n < len(t.Classes) {
		row.Class = n
	}
	if row.Class < 0 {
		return row, r.fault("column %q is %q, want %s, or its number from 0", column, clip(label), strings.Join(t.Classes, " or "))
	}
	return row, nil
}

// column is the value of the first of some columns that the row has.
func (t *Task) column(r *Record, columns []string) (value, column string, err error) {
	column = columns[0]
	for _, c := range columns {
		if r.Has(c) {
			column = c
			break
		}
	}
	value, err = r.Text(column)
	return value, column, err
}

// Labels are the task's for a head.
func (t *Task) Labels() *Labels {
	if t.Classes == nil {
		return &Labels{models.Classes{Task: models.Classify, Problem: models.Regression, Names: models.ClassNames(1)}}
	}
	return &Labels{models.Classes{Task: models.Classify, Problem: models.SingleLabel, Names: t.Classes}}
}

// Reads implements Format.
func (t *Task) Reads() []string { return append(slices.Concat(t.texts...), t.labels...) }

// Example implements Format: the row as text for a causal model.
func (t *Task) Example(r *Record) (Example, error) {
	row, err := t.Row(r)
	if err != nil {
		return Example{}, err
	}
	x := Answered(t.prompt(row.Texts), t.Answers[row.Class])
	x.Label, x.Value = row.Class, row.Value
	return x, nil
}

// taskFormat reads the rows of a task for a head.
type taskFormat struct {
	*Task
	labels  *Labels
	numbers []int // that the task's classes have there; -1: none
}

func newTaskFormat(t *Task, l *Labels) taskFormat {
	f := taskFormat{Task: t, labels: l}
	for i, name := range t.Classes {
		n := slices.Index(l.Names, name)
		if n < 0 && slices.Equal(l.Names, models.ClassNames(len(t.Classes))) { // a head without names
			n = i
		}
		f.numbers = append(f.numbers, n)
	}
	return f
}

// Example implements Format.
func (f taskFormat) Example(r *Record) (Example, error) {
	row, err := f.Row(r)
	x := Example{Label: -1}
	if err != nil {
		return x, err
	}
	if x.Text = row.Texts[0]; len(row.Texts) > 1 {
		x.Second = &row.Texts[1]
	}
	switch {
	case f.Classes == nil && f.labels.Problem == models.Regression:
		x.Value, x.Values, x.Label = row.Value, []float32{float32(row.Value)}, 0
	case f.Classes == nil || f.labels.Problem != models.SingleLabel:
		return x, r.fault("the head's problem is %s, and task %s is another", f.labels.Problem, f.Name)
	case f.numbers[row.Class] < 0:
		return x, r.fault("the row's class is %s, which is none of the %d classes: %s", f.Classes[row.Class], len(f.labels.Names), some(f.labels.Names))
	default:
		x.Label = f.numbers[row.Class]
	}
	return x, nil
}
