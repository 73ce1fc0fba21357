package tokenizer

import (
	"fmt"

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

// compile reads expr as the Oniguruma syntax of tokenizer.json.
func compile(expr string) (*regexp2.Regexp, error) {
	// No limit: a long text is no reason to fail.
	re, err := regexp2.Compile(expr, regexp2.None, regexp2.OptionMaxBacktrackingStackSize(-1))
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", expr, err)
	}
	return re, nil
}

// matches returns the byte ranges of the matches of re in s.
func matches(re *regexp2.Regexp, s string) [][]int {
	found, err := re.FindAllStringIndex(s, -1)
	if err != nil { // no timeout is set and the stack has no limit
		panic("tokenizer: " + err.Error())
	}
	return found
}
