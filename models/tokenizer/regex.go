package tokenizer

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// The expressions with a hand-written scanner.
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternDigits = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternMarks  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

var scanners = map[string]scanner{
	patternGPT2:   scanGPT2,
	patternLlama3: modern{word: letter, digits: 3}.scan,
	patternQwen2:  modern{word: letter, digits: 1}.scan,
	patternDigits: modern{word: letter}.scan,
	patternMarks:  modern{word: letter | mark, digits: 1}.scan,
}

// An expression finds its matches in a text, in the Oniguruma syntax of
// tokenizer.json. Nearly all expressions of real files run in time
// proportional to the text: see linear. One that looks around itself in some
// other way is left to a matcher that tries every way there is, by the clock:
// see backtracking.
type expression interface {
	// each calls found with the byte range of each match until it says stop.
	each(s string, found func(start, end int) bool) error
}

// compile reads expr.
func compile(expr string) (expression, error) {
	if nested(expr) {
		return nil, fmt.Errorf("regular expression %q: a class within a class is not supported", expr)
	}
	if x, ok := newLinear(expr); ok {
		return x, nil
	}
	return newBacktracking(expr)
}

// nested reports whether a class holds another one, or an intersection.
func nested(expr string) bool {
	inClass := false
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case c == '\\':
			i++
		case !inClass:
			inClass = c == '['
		case c == '[' || strings.HasPrefix(expr[i:], "&&"):
			return true
		case c == ']':
			inClass = false
		}
	}
	return false
}

// backtracking matches with regexp2, which can take for ever.
type backtracking struct{ re *regexp2.Regexp }

// patience is how long the matches of one text may take.
const patience = 2 * time.Second

func newBacktracking(expr string) (expression, error) {
	for _, odd := range []string{"(?m", "(?x", `\w`, `\W`, `\b`, `\B`} {
		if strings.Contains(expr, odd) {
			return nil, fmt.Errorf("regular expression %q: %q is not supported", expr, odd)
		}
	}
	// ^ and $ are at every line in Oniguruma. The stack has no limit: a long
	// text is no reason to fail.
	re, err := regexp2.Compile(expr, regexp2.Multiline, regexp2.OptionMaxBacktrackingStackSize(-1))
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", expr, err)
	}
	re.MatchTimeout = patience
	return backtracking{re}, nil
}

func (x backtracking) each(s string, found func(start, end int) bool) error {
	begun := time.Now()
	m, err := x.re.FindStringMatch(s)
	for ; m != nil && err == nil; m, err = x.re.FindNextMatch(m) {
		start, n := m.ByteRange()
		if !found(start, start+n) {
			return nil
		}
		if time.Since(begun) > patience {
			return errSlow
		}
	}
	if err != nil {
		return errSlow // there is no other error than the time
	}
	return nil
}
