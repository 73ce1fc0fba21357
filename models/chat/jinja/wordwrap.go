package jinja

import (
	"slices"
	"strings"
)

// wordWrap breaks each line of a text at a width, as Python's textwrap does.
func wordWrap(r *rendering, a []Value) Value {
	failIfUndefined(a[0])
	s, ok := Text(a[0])
	if !ok {
		raise("AttributeError", "'%s' object has no attribute 'splitlines'", a[0].typeName())
	}
	w := wrapper{r: r, width: 79, breakWords: a[2] == nil || r.truth(a[2]), hyphens: a[4] == nil || r.truth(a[4])}
	if a[1] != nil {
		w.width = index(a[1])
	}
	separator := "\n"
	if a[3] != nil && a[3] != None {
		separator = r.textArg("wordwrap", a[3])
	}
	var wrapped []string
	for _, line := range r.lines(s, false) {
		r.hold(8 * len(line))
		wrapped = append(wrapped, strings.Join(w.wrap([]rune(line)), separator))
	}
	r.hold(len(s) + times(len(s)+len(wrapped), len(separator)))
	return str(strings.Join(wrapped, separator))
}

type wrapper struct {
	r                   *rendering
	width               int
	breakWords, hyphens bool
}

// wrap breaks one line into lines of the width.
func (w wrapper) wrap(text []rune) []string {
	if w.width <= 0 {
		raise("ValueError", "invalid width %d (must be > 0)", w.width)
	}
	chunks := w.chunks(text)
	blank := func(chunk []rune) bool {
		return !slices.ContainsFunc(chunk, func(c rune) bool { return !isSpace(c) })
	}
	var lines []string
	for len(chunks) > 0 {
		w.r.step(4)
		if len(lines) > 0 && blank(chunks[0]) {
			chunks = chunks[1:]
		}
		var line [][]rune
		n := 0
		for len(chunks) > 0 && n+len(chunks[0]) <= w.width {
			n += len(chunks[0])
			line = append(line, chunks[0])
			chunks = chunks[1:]
		}
		if len(chunks) > 0 && len(chunks[0]) > w.width {
			switch {
			case w.breakWords:
				end := w.breakAt(chunks[0], w.width-n)
				line = append(line, chunks[0][:end])
				chunks[0] = chunks[0][end:]
			case len(line) == 0:
				line = append(line, chunks[0])
				chunks = chunks[1:]
			}
		}
		if len(line) > 0 && blank(line[len(line)-1]) {
			line = line[:len(line)-1]
		}
		if len(line) > 0 {
			var b strings.Builder
			for _, chunk := range line {
				b.WriteString(string(chunk))
			}
			lines = append(lines, b.String())
		}
	}
	return lines
}

// breakAt is where a word that is longer than the space is broken.
func (w wrapper) breakAt(chunk []rune, space int) int {
	if w.hyphens {
		for i := space - 1; i > 0; i-- {
			if chunk[i] == '-' {
				if slices.ContainsFunc(chunk[:i], func(c rune) bool { return c != '-' }) {
					return i + 1
				}
				break
			}
		}
	}
	return space
}

func isWrapSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

// chunks cuts a line into white space and the parts of words that may stand on
// different lines.
func (w wrapper) chunks(text []rune) [][]rune {
	var chunks [][]rune
	for i := 0; i < len(text); {
		run := i // of white space, or a word
		for run < len(text) && isWrapSpace(text[run]) == isWrapSpace(text[i]) {
			run++
		}
		for i < run {
			w.r.step(4)
			end := w.chunkEnd(text, i, run)
			chunks = append(chunks, text[i:end])
			i = end
		}
	}
	return chunks
}

// chunkEnd is where the chunk that begins at i ends, in a word or white space
// that ends at end.
func (w wrapper) chunkEnd(text []rune, i, end int) int {
	if isWrapSpace(text[i]) || !w.hyphens {
		return end
	}
	if n := dashes(text, i); n > 0 && i > 0 && isWordPunctuation(text[i-1]) {
		return i + n
	}
	for j := i + 1; j < end; j++ {
		if text[j] == '-' && breaksAfterHyphen(text, j) {
			return j + 1
		}
		if isWordPunctuation(text[j-1]) && dashes(text, j) > 0 {
			return j
		}
	}
	return end
}

// dashes is the length of two dashes or more before a word, or 0.
func dashes(text []rune, i int) int {
	n := 0
	for i+n < len(text) && text[i+n] == '-' {
		n++
	}
	if n < 2 || i+n == len(text) || !isWord(text[i+n]) {
		return 0
	}
	return n
}

func isWordPunctuation(r rune) bool { return isWord(r) || strings.ContainsRune(`!"'&.,?`, r) }

func isWordLetter(r rune) bool { return isWord(r) && !isDecimal(r) }

// breaksAfterHyphen says whether the hyphen at j is within a word of letters.
func breaksAfterHyphen(text []rune, j int) bool {
	letter := func(i int) bool { return i >= 0 && i < len(text) && isWordLetter(text[i]) }
	before := letter(j-2) && letter(j-1) ||
		letter(j-3) && text[j-2] == '-' && letter(j-1)
	after := letter(j+1) && (letter(j+2) || j+2 < len(text) && text[j+2] == '-' && letter(j+3))
	return before && after
}
