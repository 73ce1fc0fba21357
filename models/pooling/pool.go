// Package pooling makes one row, an embedding, of the hidden states of a text, and
// reads the files by which sentence-transformers says how.
package pooling

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Mode is one of the ways to make one row of several.
type Mode uint8

// The modes, as sentence-transformers computes them, in the order in which its older
// files have their rows one after the other.
const (
	First        Mode = iota // of the first token
	Max                      // the largest of each column
	Mean                     // of all tokens
	MeanSqrt                 // the sum by the square root of the number of tokens
	WeightedMean             // token i of the text counts i times, from 1
	Last                     // of the last token
)

// names are those of the modes, in their order.
var names = []string{"cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"}

// Names are those of the modes.
func Names() []string { return slices.Clone(names) }

func (m Mode) String() string { return names[m] }

// Parse reads the names of modes, with commas between them: their rows are put one
// after the other.
func Parse(text string) ([]Mode, error) {
	var modes []Mode
	for _, name := range strings.Split(text, ",") {
		at := slices.Index(names, strings.TrimSpace(name))
		switch {
		case at < 0:
			return nil, fmt.Errorf("%q is none of %s", strings.TrimSpace(name), strings.Join(names, ", "))
		case slices.Contains(modes, Mode(at)):
			return nil, fmt.Errorf("%s is named twice", names[at])
		}
		modes = append(modes, Mode(at))
	}
	return modes, nil
}

// Sparse tells where a text has the rows that modes look at: its first, its last.
// Other modes look at all.
func Sparse(modes []Mode) (first, last, all bool) {
	for _, m := range modes {
		first, last, all = first || m == First, last || m == Last, all || m != First && m != Last
	}
	return first, last, all
}

// A Pool takes the rows of a text in their order and makes one of them. Its sums
// are in float64, so that they do not depend on how the rows came together.
type Pool struct {
	modes         []Mode
	hidden        int
	passed, rows  int
	first, last   []float32
	most          []float32
	sum, weighted []float64
}

// New returns a pool of rows of so many columns, before which so many tokens of the
// text are passed over.
func New(modes []Mode, hidden, passed int) *Pool {
	p := &Pool{modes: modes, hidden: hidden, passed: passed}
	for _, m := range modes {
		switch m {
		case First:
			p.first = make([]float32, hidden)
		case Last:
			p.last = make([]float32, hidden)
		case Max:
			p.most = make([]float32, hidden)
		case Mean, MeanSqrt:
			p.sum = make([]float64, hidden)
		case WeightedMean:
			p.weighted = make([]float64, hidden)
		}
	}
	return p
}

// Width is the number of columns of the row that is made.
func (p *Pool) Width() int { return len(p.modes) * p.hidden }

// Add takes the next row.
func (p *Pool) Add(row []float32) {
	p.rows++
	if p.rows == 1 {
		copy(p.first, row)
		copy(p.most, row)
	}
	copy(p.last, row)
	for i := range p.most {
		p.most[i] = max(p.most[i], row[i])
	}
	for i := range p.sum {
		p.sum[i] += float64(row[i])
	}
	for i := range p.weighted {
		p.weighted[i] += float64(p.passed+p.rows) * float64(row[i])
	}
}

// Write writes the row that is made of those taken, at least one.
func (p *Pool) Write(dst []float32) {
	n := float64(p.rows)
	for i, m := range p.modes {
		part := dst[i*p.hidden : (i+1)*p.hidden]
		switch m {
		case First:
			copy(part, p.first)
		case Last:
			copy(part, p.last)
		case Max:
			copy(part, p.most)
		case Mean:
			divide(part, p.sum, n)
		case MeanSqrt:
			divide(part, p.sum, math.Sqrt(n))
		case WeightedMean:
			divide(part, p.weighted, n*(n+1)/2+n*float64(p.passed))
		}
	}
}

func divide(dst []float32, sum []float64, by float64) {
	for i := range dst {
		dst[i] = float32(sum[i] / by)
	}
}

// Normalize scales a row to length 1; a row of zeros stays.
func Normalize(row []float32) {
	length := math.Sqrt(Dot(row, row))
	if length < 1e-12 { // F.normalize's
		length = 1e-12
	}
	for i := range row {
		row[i] = float32(float64(row[i]) / length)
	}
}

// Dot is the product of two rows of one length.
func Dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// Cosine is that of the angle between two rows of one length; 0 where one is zeros.
func Cosine(a, b []float32) float64 {
	lengths := math.Sqrt(Dot(a, a)) * math.Sqrt(Dot(b, b))
	if lengths == 0 {
		return 0
	}
	return Dot(a, b) / lengths
}
