package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// A splitter is one pre-tokenizer: it cuts text into words and pushes each to
// the next level, where the next splitter or the model takes it.
type splitter interface {
	split(text string, e *encoding, next int)
}

// scanSplit cuts with a hand-written scanner.
type scanSplit struct{ scan scanner }

func (p scanSplit) split(text string, e *encoding, next int) {
	for i := 0; i < len(text); {
		end := p.scan(text, i)
		e.push(next, text[i:end])
		i = end
	}
}

// prefixSpace is ByteLevel's add_prefix_space.
type prefixSpace struct{}

func (prefixSpace) split(text string, e *encoding, next int) {
	if text != "" && text[0] != ' ' {
		text = " " + text
	}
	e.push(next, text)
}

// spellSplit writes text in the byte alphabet, for a ByteLevel that other
// splitters come after. When it comes last, the model reads raw bytes instead.
type spellSplit struct{}

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

// partsOf covers text with the matches at found and the gaps between them;
// inverted, the gaps count as the matches.
func partsOf(text string, found [][]int, invert bool) []part {
	parts := make([]part, 0, 2*len(found)+1)
	pos := 0
	for _, m := range found {
		if m[0] > pos {
			parts = append(parts, part{pos, m[0], invert})
		}
		if m[1] > m[0] {
			parts = append(parts, part{m[0], m[1], !invert})
		}
		pos = m[1]
	}
	if pos < len(text) {
		parts = append(parts, part{pos, len(text), invert})
	}
	return parts
}

// emit pushes the words that parts make. A match merges with the text beside
// it, not with another match.
func (b behavior) emit(text string, parts []part, e *encoding, next int) {
	for i := 0; i < len(parts); {
		first := parts[i]
		end := first.end
		i++
		switch b {
		case isolated:
		case removed:
			if first.match {
				continue
			}
		case mergedWithPrevious:
			if i < len(parts) && !first.match && parts[i].match {
				end = parts[i].end
				i++
			}
		case mergedWithNext:
			if i < len(parts) && first.match && !parts[i].match {
				end = parts[i].end
				i++
			}
		case contiguous:
			for i < len(parts) && parts[i].match == first.match {
				end = parts[i].end
				i++
			}
		}
		e.push(next, text[first.start:end])
	}
}

// regexSplit cuts at the matches of an expression or, inverted, at the rest.
type regexSplit struct {
	re       *regexp2.Regexp
	behavior behavior
	invert   bool
}

func (p regexSplit) split(text string, e *encoding, next int) {
	p.behavior.emit(text, partsOf(text, matches(p.re, text), p.invert), e, next)
}

// runeSplit cuts at the characters that match, one by one.
type runeSplit struct {
	match    func(rune) bool
	behavior behavior
}

func (p runeSplit) split(text string, e *encoding, next int) {
	if p.behavior == isolated || p.behavior == removed {
		p.fast(text, e, next)
		return
	}
	var found [][]int
	for i, r := range text {
		if p.match(r) {
			found = append(found, []int{i, i + utf8.RuneLen(r)})
		}
	}
	p.behavior.emit(text, partsOf(text, found, false), e, next)
}

func (p runeSplit) fast(text string, e *encoding, next int) {
	start := 0
	for i, r := range text {
		if !p.match(r) {
			continue
		}
		if i > start {
			e.push(next, text[start:i])
		}
		start = i + utf8.RuneLen(r)
		if p.behavior == isolated {
			e.push(next, text[i:start])
		}
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
		e.push(next, text[:at])
		text = text[at:]
	}
	if text != "" {
		e.push(next, text)
	}
}
