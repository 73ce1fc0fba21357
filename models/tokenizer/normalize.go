package tokenizer

import (
	"strings"
	"unicode"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/text/unicode/norm"
)

// A normalizer rewrites text before it is cut into words.
type normalizer func(string) string

// inOrder runs normalizers one after the other.
func inOrder(list []normalizer) normalizer {
	return func(s string) string {
		for _, n := range list {
			s = n(s)
		}
		return s
	}
}

// unicodeForm is NFC, NFD, NFKC or NFKD.
func unicodeForm(form norm.Form) normalizer {
	return func(s string) string {
		if isASCII(s) {
			return s
		}
		return form.String(s)
	}
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
	return func(s string) string {
		if s == "" {
			return s
		}
		return prefix + s
	}
}

func replaceString(old, replacement string) normalizer {
	return func(s string) string { return strings.ReplaceAll(s, old, replacement) }
}

func replaceRegex(re *regexp2.Regexp, replacement string) normalizer {
	return func(s string) string {
		found := matches(re, s)
		if found == nil {
			return s
		}
		var b strings.Builder
		last := 0
		for _, m := range found {
			b.WriteString(s[last:m[0]])
			b.WriteString(replacement)
			last = m[1]
		}
		b.WriteString(s[last:])
		return b.String()
	}
}

func stripSpace(left, right bool) normalizer {
	return func(s string) string {
		if left {
			s = strings.TrimLeftFunc(s, unicode.IsSpace)
		}
		if right {
			s = strings.TrimRightFunc(s, unicode.IsSpace)
		}
		return s
	}
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

// bertNormalizer is BERT's basic tokenizer up to the splitting.
type bertNormalizer struct {
	cleanText, chineseChars, stripAccents, lowercase bool
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
