package tokenizer

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A normalizer rewrites text before it is cut into words.
type normalizer struct {
	path string // in the file
	what string // it does: two of the same do the same
	// byCharacter tells that each character becomes what it becomes alone, but for
	// ones that compose.
	byCharacter bool
	// apply fails with errGrows rather than make more than most bytes.
	apply func(s string, most int) (string, error)
	// shrink is how many bytes of text may become one; 0: any number.
	shrink int
}

// normalize runs the normalizers, as long as beat says.
func (t *Tokenizer) normalize(s string, beat func() bool) (string, error) {
	most := grown(len(s))
	for _, n := range t.normalizers {
		if !beat() {
			return "", nil
		}
		var err error
		if s, err = n.apply(s, most); err == nil && len(s) > most {
			err = errGrows
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", n.path, err)
		}
	}
	return s, nil
}

// plainly is a normalizer that makes a few bytes of each at most.
func plainly(f func(string) string) func(string, int) (string, error) {
	return func(s string, _ int) (string, error) { return f(s), nil }
}

// Bytes of text that may become one. A canonical singleton may shrink to a
// third, and four characters that compose by half again; compatibility
// characters of four bytes may become one.
const (
	shrinkForm  = 12
	shrinkLower = 4
)

func unicodeForm(form norm.Form) normalizer {
	return normalizer{what: fmt.Sprint("form ", int(form)), byCharacter: true, shrink: shrinkForm, apply: plainly(func(s string) string {
		if isASCII(s) {
			return s
		}
		return form.String(s)
	})}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func prepend(prefix string) normalizer {
	return normalizer{what: "prepend " + prefix, shrink: 1, apply: plainly(func(s string) string {
		if s == "" {
			return s
		}
		return prefix + s
	})}
}

func replaceString(old, replacement string) normalizer {
	n := normalizer{what: fmt.Sprintf("replace %q by %q", old, replacement), apply: func(s string, most int) (string, error) {
		if grows := len(replacement) - len(old); grows > 0 && strings.Count(s, old) > (most-len(s))/grows {
			return "", errGrows
		}
		return strings.ReplaceAll(s, old, replacement), nil
	}}
	if replacement != "" {
		n.shrink = (len(old) + len(replacement) - 1) / len(replacement)
	}
	return n
}

func replaceRegex(expr string, x expression, replacement string) normalizer {
	return normalizer{what: fmt.Sprintf("replace expression %q by %q", expr, replacement), apply: func(s string, most int) (string, error) {
		var b strings.Builder
		last := 0
		err := x.each(s, func(start, end int) bool {
			b.WriteString(s[last:start])
			b.WriteString(replacement)
			last = end
			return b.Len() <= most
		})
		switch {
		case err != nil:
			return "", err
		case b.Len() > most:
			return "", errGrows
		}
		b.WriteString(s[last:])
		return b.String(), nil
	}}
}

func stripSpace(left, right bool) normalizer {
	return normalizer{what: fmt.Sprint("strip ", left, right), apply: plainly(func(s string) string {
		if left {
			s = strings.TrimLeftFunc(s, unicode.IsSpace)
		}
		if right {
			s = strings.TrimRightFunc(s, unicode.IsSpace)
		}
		return s
	})}
}

// stripAccents drops combining marks; the text has to be decomposed before.
func stripAccents(s string) string { return dropRunes(s, unicode.IsMark) }

func dropRunes(s string, drop func(rune) bool) string {
	if isASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if drop(r) {
			return -1
		}
		return r
	}, s)
}

// lowercase maps character by character. U+0130 is the one character whose
// lower case is two.
func lowercase(s string) string {
	if strings.ContainsRune(s, 'İ') {
		s = strings.ReplaceAll(s, "İ", "i\u0307")
	}
	return strings.Map(unicode.ToLower, s)
}

// nmt is SentencePiece's cleaning: control characters go, and what it takes for
// white space becomes spaces.
func nmt(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0x0b, r >= 0x0e && r <= 0x1f, r == 0x7f, r == 0x8f, r == 0x9f:
			return -1
		case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200b && r <= 0x200f,
			r == 0x2028, r == 0x2029, r == 0x2581, r == 0xfeff, r == 0xfffd:
			return ' '
		}
		return r
	}, s)
}

// bertNormalizer is BERT's basic tokenizer up to the splitting.
type bertNormalizer struct {
	cleanText, chineseChars, stripAccents, lowercase bool
}

func (n bertNormalizer) normalizer() normalizer {
	return normalizer{what: fmt.Sprintf("bert %v", n), byCharacter: true, apply: plainly(n.normalize)}
}

func (n bertNormalizer) normalize(s string) string {
	if n.cleanText {
		s = cleanText(s)
	}
	if n.chineseChars && !isASCII(s) {
		s = spaceChinese(s)
	}
	if n.stripAccents && !isASCII(s) {
		s = dropRunes(norm.NFD.String(s), func(r rune) bool { return unicode.Is(unicode.Mn, r) })
	}
	if n.lowercase {
		s = lowercase(s)
	}
	return s
}

// cleanText drops control characters and turns white space into spaces.
func cleanText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == 0 || r == '\uFFFD' || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co):
			return -1
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, s)
}

// spaceChinese puts spaces around CJK ideographs.
func spaceChinese(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if !isChinese(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteByte(' ')
		b.WriteRune(r)
		b.WriteByte(' ')
	}
	return b.String()
}

// isChinese has the ranges of the reference implementation, its 2B920 for
// 2B820 included.
func isChinese(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF ||
		r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF ||
		r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}
