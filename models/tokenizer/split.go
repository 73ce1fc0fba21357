package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A splitter is one pre-tokenizer: it cuts text into words and pushes each to
// the next level, where the next splitter or the model takes it. It stops when
// push says so.
type splitter interface {
	split(text string, e *encoding, next int)
	// drops tells that some text may go to no word.
	drops() bool
	// what it does: two of the same do the same.
	what() string
}

// keeps is for splitters that drop nothing.
type keeps struct{}

func (keeps) drops() bool { return false }

// scanSplit cuts with a hand-written scanner.
type scanSplit struct {
	keeps
	name string
	scan scanner
}

func (p scanSplit) what() string { return "scan " + p.name }

func (p scanSplit) split(text string, e *encoding, next int) {
	for i := 0; i < len(text); {
		end := p.scan(text, i)
		if !e.push(next, text[i:end]) {
			return
		}
		i = end
	}
}

// prefixSpace is ByteLevel's add_prefix_space.
type prefixSpace struct{ keeps }

func (prefixSpace) what() string { return "space before" }

func (prefixSpace) split(text string, e *encoding, next int) {
	if text != "" && text[0] != ' ' {
		text = " " + text
	}
	e.push(next, text)
}

// spellSplit writes text in the byte alphabet, for a ByteLevel that other
// splitters come after. When it comes last, the model reads raw bytes instead.
type spellSplit struct{ keeps }

func (spellSplit) what() string { return "spell bytes" }

func (spellSplit) split(text string, e *encoding, next int) { e.push(next, spellBytes(text)) }

// A behavior says what becomes of the matches of a splitter.
type behavior uint8

const (
	isolated behavior = iota
	removed
	mergedWithPrevious
	mergedWithNext
	contiguous
)

var behaviors = map[string]behavior{
	"Isolated": isolated, "Removed": removed, "MergedWithPrevious": mergedWithPrevious,
	"MergedWithNext": mergedWithNext, "Contiguous": contiguous,
}

// A part is a match or what is between two.
type part struct {
	start, end int
	match      bool
}

// A joiner pushes the words that the parts of a text make, which come in order.
// A match merges with the text beside it, not with another match.
type joiner struct {
	behavior behavior
	text     string
	e        *encoding
	next     int
	held     part // waits for the part behind it; empty: none does
}

// add takes the next part, and reports whether there is reason to go on.
func (j *joiner) add(p part) bool {
	if p.start == p.end {
		return j.e.err == nil
	}
	held := j.held
	switch empty := held.start == held.end; {
	case j.behavior == isolated:
		return j.e.push(j.next, j.text[p.start:p.end])
	case j.behavior == removed:
		return p.match || j.e.push(j.next, j.text[p.start:p.end])
	case empty:
		j.held = p
		return true
	case j.behavior == contiguous && held.match == p.match:
		j.held.end = p.end
		return true
	case j.behavior == mergedWithPrevious && !held.match && p.match,
		j.behavior == mergedWithNext && held.match && !p.match:
		j.held = part{}
		return j.e.push(j.next, j.text[held.start:p.end])
	}
	j.held = p
	return j.e.push(j.next, j.text[held.start:held.end])
}

// end pushes what waits.
func (j *joiner) end() {
	if j.held.start < j.held.end {
		j.e.push(j.next, j.text[j.held.start:j.held.end])
	}
}

// regexSplit cuts at the matches of an expression or, inverted, at the rest.
type regexSplit struct {
	path     string // in the file
	expr     string
	re       expression
	behavior behavior
	invert   bool
}

func (p regexSplit) drops() bool { return p.behavior == removed }

func (p regexSplit) what() string {
	return fmt.Sprintf("split %T %q %d %v", p.re, p.expr, p.behavior, p.invert)
}

func (p regexSplit) split(text string, e *encoding, next int) {
	j := joiner{behavior: p.behavior, text: text, e: e, next: next}
	last := 0
	err := p.re.each(text, func(start, end int) bool {
		gap := last
		last = end
		return j.add(part{gap, start, p.invert}) && j.add(part{start, end, !p.invert})
	})
	switch {
	case err != nil:
		e.fail(fmt.Errorf("%s: %w", p.path, err))
	case e.err == nil && j.add(part{last, len(text), p.invert}):
		j.end()
	}
}

// The characters that pre-tokenizers cut at.
func atNumbers(b behavior) splitter { return runeSplit{"numbers", unicode.IsNumber, b} }
func atSpaces() splitter            { return runeSplit{"white space", unicode.IsSpace, removed} }
func atPunctuation(b behavior) splitter {
	return runeSplit{"punctuation", isPunctuation, b}
}

// runeSplit cuts at the characters that match, one by one.
type runeSplit struct {
	name     string
	match    func(rune) bool
	behavior behavior
}

func (p runeSplit) drops() bool { return p.behavior == removed }

func (p runeSplit) what() string { return fmt.Sprintf("split %s %d", p.name, p.behavior) }

func (p runeSplit) split(text string, e *encoding, next int) {
	j := joiner{behavior: p.behavior, text: text, e: e, next: next}
	last := 0
	for i, r := range text {
		if !p.match(r) {
			continue
		}
		gap := last
		last = i + utf8.RuneLen(r)
		if !j.add(part{gap, i, false}) || !j.add(part{i, last, true}) {
			return
		}
	}
	if j.add(part{last, len(text), false}) {
		j.end()
	}
}

// chunkSplit cuts after every so many characters.
type chunkSplit struct {
	keeps
	length int
}

func (p chunkSplit) what() string { return fmt.Sprint("chunks of ", p.length) }

func (p chunkSplit) split(text string, e *encoding, next int) {
	start, count := 0, 0
	for i := range text {
		if count == p.length {
			if !e.push(next, text[start:i]) {
				return
			}
			start, count = i, 0
		}
		count++
	}
	if start < len(text) {
		e.push(next, text[start:])
	}
}

// scanWords is \w+|[^\w\s]+ with the white space between as words of its own.
func scanWords(s string, i int) int {
	kind := func(r rune) int {
		switch {
		case isWord(r):
			return 0
		case unicode.IsSpace(r):
			return 1
		}
		return 2
	}
	first, n := utf8.DecodeRuneInString(s[i:])
	for i += n; i < len(s); i += n {
		var r rune
		if r, n = utf8.DecodeRuneInString(s[i:]); kind(r) != kind(first) {
			break
		}
	}
	return i
}

// dropSpace drops the words that scanWords made of white space.
type dropSpace struct{}

func (dropSpace) drops() bool { return true }

func (dropSpace) what() string { return "drop white space" }

func (dropSpace) split(text string, e *encoding, next int) {
	if r, _ := utf8.DecodeRuneInString(text); !unicode.IsSpace(r) {
		e.push(next, text)
	}
}

// isPunctuation is ASCII's punctuation and symbols and Unicode's P.
func isPunctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return r > ' ' && r < 0x7f && asciiClass[r] == 0
	}
	return unicode.IsPunct(r)
}

// metaspace writes spaces as a visible character and cuts before each.
type metaspace struct {
	keeps
	replacement rune
	prepend     prependScheme
	cut         bool
}

type prependScheme uint8

const (
	prependAlways prependScheme = iota
	prependNever
	prependFirst // only at the very start of the input
)

func (p metaspace) what() string {
	return fmt.Sprintf("metaspace %q %d %v", p.replacement, p.prepend, p.cut)
}

func (p metaspace) split(text string, e *encoding, next int) {
	mark := string(p.replacement)
	text = strings.ReplaceAll(text, " ", mark)
	first := e.atStart
	e.atStart = false
	if text != "" && !strings.HasPrefix(text, mark) &&
		(p.prepend == prependAlways || p.prepend == prependFirst && first) {
		text = mark + text
	}
	for p.cut {
		at := strings.Index(text[min(1, len(text)):], mark)
		if at < 0 {
			break
		}
		at++
		if !e.push(next, text[:at]) {
			return
		}
		text = text[at:]
	}
	if text != "" {
		e.push(next, text)
	}
}
