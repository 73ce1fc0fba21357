package dataset

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/pooling"
)

// The columns of texts whose embeddings are compared, as sentence-transformers' data sets
// call them: a text with one that is near to it, and others that are not, or two texts
// with how near they are.
const (
	anchorColumn   = "anchor"
	positiveColumn = "positive"
	negativeColumn = "negative" // or negative_1, negative_2 and so on

	firstColumn  = "sentence1"
	secondColumn = "sentence2"
	scoreColumn  = "score"
)

// comparedFormat reads rows of texts whose embeddings are compared.
type comparedFormat struct {
	texts  []string // the columns
	scored bool
}

// newComparedFormat is settled by the first record, whose columns all others have.
func newComparedFormat(first *Record) (*comparedFormat, error) {
	switch {
	case first.names(anchorColumn) && first.names(positiveColumn):
		f := &comparedFormat{texts: []string{anchorColumn, positiveColumn}}
		if first.names(negativeColumn) {
			f.texts = append(f.texts, negativeColumn)
		}
		for n := 1; first.names(fmt.Sprintf("%s_%d", negativeColumn, n)); n++ {
			f.texts = append(f.texts, fmt.Sprintf("%s_%d", negativeColumn, n))
		}
		return f, nil
	case first.names(firstColumn) && first.names(secondColumn) && first.names(scoreColumn):
		return &comparedFormat{texts: []string{firstColumn, secondColumn}, scored: true}, nil
	}
	return nil, first.fault("no texts to compare: want the columns %s and %s, with %s, or %[3]s_1, %[3]s_2 and so on, where there are texts that are not near, or %s, %s and %s (the row has %s)",
		anchorColumn, positiveColumn, negativeColumn, firstColumn, secondColumn, scoreColumn, strings.Join(first.Columns(), ", "))
}

// Reads implements Format.
func (f *comparedFormat) Reads() []string {
	if f.scored {
		return append(slices.Clone(f.texts), scoreColumn)
	}
	return f.texts
}

// Example implements Format.
func (f *comparedFormat) Example(r *Record) (x Example, err error) {
	x.Label = -1
	for _, column := range f.texts {
		text, err := r.Text(column)
		if err == nil && strings.TrimSpace(text) == "" {
			err = r.fault("column %q is empty: it has no embedding to learn", column)
		}
		if err != nil {
			return x, err
		}
		x.Compared = append(x.Compared, text)
	}
	x.Text = x.Compared[0]
	if !f.scored {
		return x, nil
	}
	x.Value, err = r.number(scoreColumn)
	if err == nil && (x.Value < -1 || x.Value > 1) {
		err = r.fault("column %q is %g, which is no cosine: want -1 to 1, so divide all scores by the largest", scoreColumn, x.Value)
	}
	x.Values = []float32{float32(x.Value)}
	return x, err
}

// compared are the sequences of the texts of an example, with the tokens that the server
// would give each. What is too long loses its end.
func (e *Encoder) compared(x Example) (all []Sequence, cut bool, err error) {
	before := e.Recipe.Prompts[e.Recipe.Prompt]
	for i, text := range x.Compared {
		made, err := e.Recipe.Encode(context.Background(), e.Tokenizer, before, text, pooling.Limits{Room: e.MaxLength})
		if err != nil {
			return nil, false, err
		}
		if len(made.Tokens) == 0 {
			return nil, false, fmt.Errorf("%q has no token", clip(text))
		}
		s := Sequence{Tokens: made.Tokens, Targets: slices.Repeat([]int32{None}, len(made.Tokens)), Whole: true, Text: i, Passed: made.Passed}
		for _, at := range pooling.Rows(e.Recipe.Modes, len(s.Tokens), s.Passed) {
			s.Targets[at] = 0 // no token, but something is learnt of the row
		}
		if i == 0 {
			s.Values = x.Values
		}
		all, cut = append(all, s), cut || made.Cut
	}
	return all, cut, nil
}
