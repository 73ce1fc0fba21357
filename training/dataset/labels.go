package dataset

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/models"
)

// Labels are what the rows of a data set for the head of a task say: which task it is,
// what scores mean, and the classes by number, which are one of a regression.
type Labels struct{ models.Classes }

// Survey completes labels by the rows of some files: the task and the problem by the
// first one, unless they are given, and the names of the classes by all. known are the
// names of a head that there is: where they are all that the rows have, their order
// holds.
func (l *Labels) Survey(paths []string, o Options, known []string) error {
	s := &Set{ignored: o.Columns.Ignore}
	defer func() { _ = s.Close() }()
	n, err := s.openFiles(paths, o)
	if err != nil {
		return err
	}
	first, err := s.read(0)
	if err != nil {
		return err
	}
	l.settle(first, o.Columns)
	if l.Names == nil && l.Problem == models.Regression {
		l.Names = models.ClassNames(1)
	}
	if l.Names != nil {
		return l.check()
	}
	f := &labelFormat{Columns: o.Columns, Labels: l}
	met := map[string]bool{}
	var mixed mixture
	for i := range n {
		r, err := s.read(i)
		if err != nil {
			return err
		}
		names, err := f.names(r)
		if err != nil {
			return err
		}
		if l.Task == models.Tag {
			if _, err := f.words(r, len(names)); err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := mixed.add(r, f.column(), name); err != nil {
				return err
			}
			if met[name.text] = true; len(met) > models.MaxClasses {
				return r.fault("%q is class %d: a head tells at most %d apart; --objective regress learns numbers", clip(name.text), len(met), models.MaxClasses)
			}
		}
	}
	l.Names = slices.Collect(maps.Keys(met))
	sortNames(l.Names)
	if covers(known, l.Names) {
		l.Names = known
	}
	return l.check()
}

// named is a class as a row has it: by a name, or by a number.
type named struct {
	text   string
	number bool
}

// mixture is where a class was met first by a name, and where by a number: which of the
// names a number beside them means is not for us to guess.
type mixture struct {
	name     string
	named    *Record
	number   string
	numbered *Record
}

// add refuses the first number that there is among names.
func (m *mixture) add(r *Record, column string, class named) error {
	switch {
	case class.number && m.numbered == nil:
		m.number, m.numbered = class.text, r
	case !class.number && m.named == nil && !isWhole(class.text): // "2" is a number, too
		m.name, m.named = class.text, r
	default:
		return nil
	}
	if m.named == nil || m.numbered == nil {
		return nil
	}
	return m.numbered.fault("column %q: %s is a number where the names of classes are, such as %q (%s:%d): write its name, or --classes names them all",
		column, m.number, clip(m.name), m.named.File, m.named.Line)
}

// covers reports whether all names are among known.
func covers(known, names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(known, n) })
}

// sortNames sorts names, by number where all are numbers, as transformers' examples do.
func sortNames(names []string) {
	number := func(s string) int { n, _ := strconv.Atoi(s); return n }
	if slices.ContainsFunc(names, func(s string) bool { return !isWhole(s) }) {
		slices.Sort(names)
		return
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(number(a), number(b)), strings.Compare(a, b)) })
}

// check refuses classes that tell nothing apart.
func (l *Labels) check() error {
	least := 2
	switch n := len(l.Names); {
	case l.Problem == models.Regression && n != 1:
		return fmt.Errorf("a regression has one number, and there are %d names for it: %s", n, some(l.Names))
	case l.Problem == models.MultiLabel || l.Problem == models.Regression:
		least = 1
		fallthrough
	default:
		if n < least {
			return fmt.Errorf("the rows have %d classes (%s), and nothing to tell apart: --classes names those that there are", n, some(l.Names))
		}
	}
	return nil
}

// settle says what is not said yet by the first row.
func (l *Labels) settle(first *Record, c Columns) {
	if l.Task == "" {
		l.Task = models.Classify
		if first.Has(c.Words) && !first.names(c.Label) {
			l.Task = models.Tag
		}
	}
	if l.Task == models.Tag || l.Problem != "" {
		return
	}
	l.Problem = models.SingleLabel
	switch raw, _ := first.Raw(c.Label); {
	case len(raw) > 0 && raw[0] == '[':
		l.Problem = models.MultiLabel
	case isFraction(string(raw)):
		l.Problem = models.Regression
	}
}

// isFraction reports whether a value is a number that is written as no whole one.
func isFraction(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && strings.ContainsAny(s, ".eE")
}

// labelFormat reads rows of a text, or a pair of texts, with a label, or of words with
// tags.
type labelFormat struct {
	Columns
	*Labels
	numbers map[string]int // of the classes
	counted bool           // no name is a number, and so a number is a class's
}

func newLabelFormat(c Columns, l *Labels) *labelFormat {
	f := &labelFormat{Columns: c, Labels: l, numbers: map[string]int{}, counted: !slices.ContainsFunc(l.Names, isWhole)}
	for i, name := range l.Names {
		f.numbers[name] = i
	}
	return f
}

// Reads implements Format.
func (f *labelFormat) Reads() []string {
	if f.Task == models.Tag {
		return []string{f.Words, f.Tags}
	}
	return []string{f.Text, f.Pair, f.Label}
}

// Example implements Format.
func (f *labelFormat) Example(r *Record) (Example, error) {
	if f.Task == models.Tag {
		return f.tagged(r)
	}
	x := Example{Label: -1}
	var err error
	if x.Text, err = r.Answer(f.Text); err != nil {
		return x, err
	}
	if r.names(f.Pair) {
		second, err := r.Text(f.Pair)
		if err != nil {
			return x, err
		}
		x.Second = &second
	}
	switch f.Problem {
	case models.Regression:
		x.Value, err = r.number(f.Label)
		x.Values, x.Label = []float32{float32(x.Value)}, 0
		return x, err
	case models.MultiLabel:
		var labels []int
		if labels, err = f.classes(r); err != nil {
			return x, err
		}
		x.Label, x.Values = 0, make([]float32, len(f.Labels.Names))
		for _, n := range labels {
			x.Values[n] = 1
		}
		return x, nil
	}
	labels, err := f.classes(r)
	if err == nil {
		x.Label = labels[0]
	}
	return x, err
}

// tagged is a row of words, each of which has a tag.
func (f *labelFormat) tagged(r *Record) (x Example, err error) {
	if x.Tags, err = f.classes(r); err != nil {
		return x, err
	}
	x.Words, err = f.words(r, len(x.Tags))
	x.Text = strings.Join(x.Words, " ")
	return x, err
}

// words are those of a row that has so many tags.
func (f *labelFormat) words(r *Record, tags int) ([]string, error) {
	raw, err := r.Raw(f.Words)
	if err != nil {
		return nil, err
	}
	words, err := textsOf(raw)
	if err != nil {
		return nil, r.fault("column %q: %w", f.Words, err)
	}
	for i, word := range words {
		if strings.TrimSpace(word) == "" {
			return nil, r.fault("column %q: word %d is empty: it has no token to learn a tag of", f.Words, i)
		}
	}
	if len(words) != tags || tags == 0 {
		return nil, r.fault("column %q has %d words, and %q %d tags: give each word one", f.Words, len(words), f.Columns.Tags, tags)
	}
	return words, nil
}

// classes are the numbers of a row's names.
func (f *labelFormat) classes(r *Record) ([]int, error) {
	names, err := f.names(r)
	if err != nil {
		return nil, err
	}
	numbers := make([]int, len(names))
	for i, class := range names {
		name := class.text
		n, ok := f.numbers[name]
		if whole, err := strconv.Atoi(name); !ok && f.counted && err == nil && whole < len(f.Labels.Names) {
			n, ok = whole, true
		}
		if !ok {
			return nil, r.fault("column %q is %q, which is none of the %d classes: %s", f.column(), clip(name), len(f.Labels.Names), some(f.Labels.Names))
		}
		if numbers[i] = n; f.Problem == models.MultiLabel && slices.Contains(numbers[:i], n) {
			return nil, r.fault("column %q has %q twice", f.column(), clip(name))
		}
	}
	return numbers, nil
}

// column is that of the labels.
func (f *labelFormat) column() string {
	if f.Task == models.Tag {
		return f.Columns.Tags
	}
	return f.Label
}

// some are the first few names.
func some(names []string) string {
	const shown = 8
	if len(names) > shown {
		return strings.Join(names[:shown], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// names are the names of a row's classes: one, or those of a list.
func (f *labelFormat) names(r *Record) ([]named, error) {
	column := f.column()
	raw, err := r.Raw(column)
	if err != nil {
		return nil, err
	}
	if f.Task == models.Tag || f.Problem == models.MultiLabel {
		if len(raw) == 0 || raw[0] != '[' {
			return nil, r.fault("column %q is %s, want a list of names of classes", column, clip(string(raw)))
		}
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, r.fault("column %q: %w", column, err)
		}
		names := make([]named, len(list))
		for i, one := range list {
			if names[i], err = className(one); err != nil {
				return nil, r.fault("column %q: %w", column, err)
			}
		}
		return names, nil
	}
	text, err := r.Text(column)
	if err != nil {
		return nil, err
	}
	class := named{text, isWhole(text)}
	switch {
	case r.text == nil:
		class, err = className(raw)
	case strings.TrimSpace(text) == "":
		err = errNoLabel
	default:
		err = nameFault(text, isFraction(text))
	}
	if err != nil {
		return nil, r.fault("column %q: %w", column, err)
	}
	return []named{class}, nil
}

var errNoLabel = errors.New("there is no label")

// className reads a class's name, or its number.
func className(raw json.RawMessage) (class named, err error) {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return class, errNoLabel
	case raw[0] == '{' || raw[0] == '[':
		return class, fmt.Errorf("%s is no name of a class", clip(string(raw)))
	case raw[0] != '"':
		class = named{string(raw), isWhole(string(raw))}
		return class, nameFault(class.text, isFraction(class.text))
	}
	if err := json.Unmarshal(raw, &class.text); err != nil {
		return class, err
	}
	if strings.TrimSpace(class.text) == "" {
		return class, errNoLabel
	}
	return class, nameFault(class.text, false)
}

// longestName is the most bytes of a class's name: models refuses longer ones.
const longestName = 256

func nameFault(name string, fraction bool) error {
	switch {
	case fraction:
		return fmt.Errorf("%s is a number where the names of classes are: --objective regress learns numbers", clip(name))
	case strings.HasPrefix(name, "-") && isWhole(name):
		return fmt.Errorf("%s says that there is no label", name)
	case len(name) > longestName:
		return fmt.Errorf("%q has %d bytes: the name of a class has at most %d", clip(name), len(name), longestName)
	}
	return nil
}

func isWhole(s string) bool { _, err := strconv.Atoi(s); return err == nil }

// number is a column as a finite number.
func (r *Record) number(column string) (float64, error) {
	text, err := r.Text(column)
	if err != nil {
		return 0, err
	}
	if raw, ok := r.raw[column]; ok && raw[0] == '"' {
		return 0, r.fault("column %q is %q, a text where numbers are: --objective classify learns names", column, clip(text))
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(float64(float32(v)), 0) {
		return 0, r.fault("column %q is %q, want a finite number", column, clip(text))
	}
	return v, nil
}

// textsOf reads a list of texts.
func textsOf(raw json.RawMessage) ([]string, error) {
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s is no list of texts", clip(string(raw)))
	}
	texts := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			return nil, fmt.Errorf("text %d of the list is null", i)
		}
		texts[i] = *s
	}
	return texts, nil
}
