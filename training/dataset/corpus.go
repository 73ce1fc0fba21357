package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Examples are what a run learns from or is measured on: records of files (Set)
// or windows of documents (Corpus).
type Examples interface {
	Len() int
	Report() Report
	// Reads lists the columns that say something; of documents there are none.
	Reads() []string
	// Example and Prompt are number i as the report shows it.
	Example(i int) (Example, error)
	Prompt(i int) (Prompt, error)
	// Sequence is number i as one sequence, for evaluation.
	Sequence(i int) (Sequence, error)
	// Sequences are those of number i.
	Sequences(i int) ([]Sequence, error)
	// Keep leaves only the first n in use.
	Keep(n int)
	// Split takes a fraction out, drawn by seed.
	Split(fraction float64, seed uint64) (Examples, error)
	Close() error

	sizes(i int) []Size
}

var _, _ Examples = (*Set)(nil), (*Corpus)(nil)

// Read opens files as what their format makes of them.
func Read(paths []string, e *Encoder, o Options) (Examples, error) {
	var all Examples
	var err error
	if IsText(o.Format) && o.Task == nil {
		all, err = OpenCorpus(paths, e, o.Format)
	} else {
		all, err = Open(paths, e, o)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// A Corpus is the windows of some documents: the tokens of each document, with
// the token that ends a text before and after it, are cut into sequences of the
// encoder's length, of which each predicts the first token of the next. The
// tokens are in memory, 4 bytes each.
type Corpus struct {
	encoder   *Encoder
	documents [][]int32 // and None
	windows   []window
	texts     []Text
	report    Report
}

// A Text is one file of a Corpus.
type Text struct {
	File      string // its name
	Title     string // its first line
	Documents int
	Tokens    int
}

// A window is a run of a document's tokens.
type window struct {
	document, from, to int32
	bytes              int32 // of the text that its targets stand for; -1: not known
}

// OpenCorpus reads every document.
func OpenCorpus(paths []string, e *Encoder, format string) (*Corpus, error) {
	c := &Corpus{encoder: e}
	digest := sha256.New()
	var buffer []byte
	if len(paths) == 0 {
		return nil, errors.New("no data is named")
	}
	for _, path := range paths {
		texts, err := Documents(path, format)
		if err != nil {
			return nil, err
		}
		title, _, _ := strings.Cut(strings.TrimSpace(texts[0]), "\n")
		own := Text{File: filepath.Base(path), Title: clip(title), Documents: len(texts)}
		for _, text := range texts {
			from := len(c.windows)
			if err := c.add(text); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			for i := from; i < len(c.windows); i++ {
				s := c.sequence(i)
				if err := e.check(s); err != nil {
					return nil, fmt.Errorf("%s: %w", path, err)
				}
				c.report.Labels += s.Labels()
				own.Tokens += len(s.Tokens)
				buffer = s.appendTo(buffer[:0])
				_, _ = digest.Write(buffer) // a hash never fails
			}
		}
		c.report.Tokens += own.Tokens
		c.texts = append(c.texts, own)
	}
	c.report.Records = len(c.documents)
	c.report.Digest = hex.EncodeToString(digest.Sum(nil)[:8])
	return c, nil
}

// add encodes a document and cuts it into windows.
func (c *Corpus) add(text string) error {
	tokens, spans, exact, err := c.encoder.Tokenizer.EncodeSpans(context.Background(), text, tokenizer.Options{})
	if err != nil {
		return err
	}
	before, after := c.encoder.Tokenizer.Around(tokens)
	if end := c.encoder.End; end >= 0 {
		if len(before) == 0 {
			before = []int32{end}
		}
		if len(after) == 0 {
			after = []int32{end}
		}
	}
	document := make([]int32, 0, len(before)+len(tokens)+len(after)+1)
	document = append(append(append(document, before...), tokens...), after...)
	n := len(document)
	if n < 2 {
		return fmt.Errorf("a document of %d tokens has nothing to learn: %q", n, clip(text))
	}
	if n > math.MaxInt32 {
		return fmt.Errorf("a document of %d tokens is more than can be counted", n)
	}
	// end is where in the text the token before place i ends.
	end := func(i int) int32 {
		switch i -= len(before); {
		case i <= 0:
			return 0
		case i >= len(tokens):
			return int32(len(text))
		}
		return int32(spans[i-1].End)
	}
	c.report.Longest = max(c.report.Longest, n)
	for from := 0; from < n-1; from += c.encoder.MaxLength {
		to := min(from+c.encoder.MaxLength, n)
		w := window{int32(len(c.documents)), int32(from), int32(to), -1}
		if exact {
			w.bytes = end(to+1) - end(from+1)
		}
		c.windows = append(c.windows, w)
	}
	c.documents = append(c.documents, append(document, None))
	return nil
}

// sequence is window i; its memory is the document's.
func (c *Corpus) sequence(i int) Sequence {
	w := c.windows[i]
	d := c.documents[w.document]
	return Sequence{Tokens: d[w.from:w.to:w.to], Targets: d[w.from+1 : w.to+1 : w.to+1]}
}

// Len implements Examples: the number of windows.
func (c *Corpus) Len() int { return len(c.windows) }

// Report implements Examples: its records are documents.
func (c *Corpus) Report() Report { return c.report }

// Reads implements Examples.
func (c *Corpus) Reads() []string { return nil }

// Texts lists the files.
func (c *Corpus) Texts() []Text { return c.texts }

// Sequence implements Examples.
func (c *Corpus) Sequence(i int) (Sequence, error) { return c.sequence(i), nil }

// Sequences implements Examples.
func (c *Corpus) Sequences(i int) ([]Sequence, error) { return []Sequence{c.sequence(i)}, nil }

func (c *Corpus) sizes(i int) []Size {
	s := c.sequence(i)
	return []Size{{s.Last() + 1, s.Labels()}}
}

// Bytes is the number of bytes of text that the windows' targets stand for;
// false where the tokenizer does not tell.
func (c *Corpus) Bytes() (n int, ok bool) {
	for _, w := range c.windows {
		if w.bytes < 0 {
			return 0, false
		}
		n += int(w.bytes)
	}
	return n, true
}

// shown is the number of tokens that begin a window and are shown as a prompt,
// and of those that are shown as what follows.
const shown = 48

// Example implements Examples: the beginning of a window, and what follows it.
func (c *Corpus) Example(i int) (Example, error) {
	tokens := c.sequence(i).Tokens
	prompt := min(shown, len(tokens)-1)
	decode := func(t []int32) string { return c.encoder.Tokenizer.Decode(t, true) }
	return Answered(decode(tokens[:prompt]), decode(tokens[prompt:min(prompt+shown, len(tokens))])), nil
}

// Prompt implements Examples.
func (c *Corpus) Prompt(i int) (Prompt, error) {
	x, err := c.Example(i)
	return Prompt{Text: x.Prompt()}, err
}

// Keep implements Examples.
func (c *Corpus) Keep(n int) { c.windows = c.windows[:min(n, len(c.windows))] }

// Split implements Examples: windows are drawn, of all documents.
func (c *Corpus) Split(fraction float64, seed uint64) (Examples, error) {
	out, err := drawn(len(c.windows), fraction, seed)
	if err != nil {
		return nil, err
	}
	other, all := *c, c.windows
	c.windows, other.windows = nil, nil
	for i, w := range all {
		if out[i] {
			other.windows = append(other.windows, w)
		} else {
			c.windows = append(c.windows, w)
		}
	}
	return &other, nil
}

// drawn draws a fraction of n examples.
func drawn(n int, fraction float64, seed uint64) (out []bool, err error) {
	held := int(fraction * float64(n))
	if held < 1 || held >= n {
		return nil, fmt.Errorf("a share of %g of %d examples leaves nothing on one side", fraction, n)
	}
	out = make([]bool, n)
	for _, i := range random.Named(seed, "split").Permutation(n)[:held] {
		out[i] = true
	}
	return out, nil
}

// Close implements Examples.
func (c *Corpus) Close() error { return nil }
