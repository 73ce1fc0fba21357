package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// parseNormalizer returns nil for a stage that changes nothing.
func parseNormalizer(raw json.RawMessage, path string) (normalizer, error) {
	name, err := stageType(raw, path)
	if err != nil || name == "" {
		return nil, err
	}
	var f struct {
		component
		Normalizers  []json.RawMessage `json:"normalizers"`
		Prepend      string            `json:"prepend"`
		Pattern      pattern           `json:"pattern"`
		Content      string            `json:"content"`
		Left         bool              `json:"strip_left"`
		Right        bool              `json:"strip_right"`
		CleanText    bool              `json:"clean_text"`
		Chinese      bool              `json:"handle_chinese_chars"`
		StripAccents *bool             `json:"strip_accents"`
		Lowercase    bool              `json:"lowercase"`
	}
	if err := decodeStage(raw, &f, path); err != nil {
		return nil, err
	}
	switch name {
	case "Sequence":
		var list []normalizer
		for i, raw := range f.Normalizers {
			n, err := parseNormalizer(raw, fmt.Sprintf("%s.normalizers[%d]", path, i))
			if err != nil {
				return nil, err
			}
			if n != nil {
				list = append(list, n)
			}
		}
		switch len(list) {
		case 0:
			return nil, nil
		case 1:
			return list[0], nil
		}
		return inOrder(list), nil
	case "NFC":
		return unicodeForm(norm.NFC), nil
	case "NFD":
		return unicodeForm(norm.NFD), nil
	case "NFKC":
		return unicodeForm(norm.NFKC), nil
	case "NFKD":
		return unicodeForm(norm.NFKD), nil
	case "Lowercase":
		return lowercase, nil
	case "StripAccents":
		return stripAccents, nil
	case "Strip":
		return stripSpace(f.Left, f.Right), nil
	case "Prepend":
		return prepend(f.Prepend), nil
	case "Replace":
		if f.Pattern.Regex != nil {
			re, err := compile(*f.Pattern.Regex)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			return replaceRegex(re, f.Content), nil
		}
		if f.Pattern.String == nil || *f.Pattern.String == "" {
			return nil, fmt.Errorf("%s: no pattern", path)
		}
		return replaceString(*f.Pattern.String, f.Content), nil
	case "BertNormalizer":
		n := bertNormalizer{cleanText: f.CleanText, chineseChars: f.Chinese, stripAccents: f.Lowercase, lowercase: f.Lowercase}
		if f.StripAccents != nil {
			n.stripAccents = *f.StripAccents
		}
		return n.normalize, nil
	}
	return nil, unsupported(path, name)
}

// splitting collects the pre-tokenizers of a file.
type splitting struct {
	splitters []splitter
	byteLevel bool // the last one is a ByteLevel: the model reads raw bytes
}

func (p *splitting) parse(raw json.RawMessage, path string) error {
	name, err := stageType(raw, path)
	if err != nil || name == "" {
		return err
	}
	if p.byteLevel { // not the last after all
		p.byteLevel = false
		p.splitters = append(p.splitters, spellSplit{})
	}
	var f struct {
		component
		PreTokenizers []json.RawMessage `json:"pretokenizers"`
		PrefixSpace   *bool             `json:"add_prefix_space"`
		TrimOffsets   bool              `json:"trim_offsets"`
		UseRegex      *bool             `json:"use_regex"`
		Pattern       pattern           `json:"pattern"`
		Behavior      string            `json:"behavior"`
		Invert        bool              `json:"invert"`
		Individual    bool              `json:"individual_digits"`
		Replacement   string            `json:"replacement"`
		Scheme        string            `json:"prepend_scheme"`
		Split         *bool             `json:"split"`
		StrRep        string            `json:"str_rep"`
	}
	if err := decodeStage(raw, &f, path); err != nil {
		return err
	}
	add := func(s splitter) { p.splitters = append(p.splitters, s) }
	switch name {
	case "Sequence":
		for i, raw := range f.PreTokenizers {
			if err := p.parse(raw, fmt.Sprintf("%s.pretokenizers[%d]", path, i)); err != nil {
				return err
			}
		}
	case "ByteLevel":
		if f.PrefixSpace != nil && *f.PrefixSpace {
			add(prefixSpace{})
		}
		if f.UseRegex == nil || *f.UseRegex {
			add(scanSplit{scanGPT2})
		}
		p.byteLevel = true
	case "Split":
		s, err := newSplit(f.Pattern, f.Behavior, f.Invert)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		add(s)
	case "Digits":
		b := contiguous
		if f.Individual {
			b = isolated
		}
		add(runeSplit{unicode.IsNumber, b})
	case "Punctuation":
		b := isolated
		if f.Behavior != "" {
			var ok bool
			if b, ok = behaviors[f.Behavior]; !ok {
				return unsupported(path, f.Behavior)
			}
		}
		add(runeSplit{isPunctuation, b})
	case "Whitespace":
		add(scanSplit{scanWords})
		add(dropSpace{})
	case "WhitespaceSplit":
		add(runeSplit{unicode.IsSpace, removed})
	case "BertPreTokenizer":
		add(runeSplit{unicode.IsSpace, removed})
		add(runeSplit{isPunctuation, isolated})
	case "Metaspace":
		m, err := newMetaspace(f.Replacement, f.Scheme, f.PrefixSpace, f.Split)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if m.prepend == prependFirst && len(p.splitters) > 0 {
			return fmt.Errorf("%s: prepend_scheme %q after another pre-tokenizer is not supported", path, f.Scheme)
		}
		add(m)
	default:
		return unsupported(path, name)
	}
	return nil
}

// newSplit takes a scanner for the expressions that have one.
func newSplit(p pattern, name string, invert bool) (splitter, error) {
	b, ok := behaviors[name]
	if !ok {
		return nil, unsupported("behavior", name)
	}
	switch {
	case p.Regex != nil:
		// These expressions match all of the text, so what is between the
		// matches, and with it most of the behavior, does not matter.
		scan, known := scanners[*p.Regex]
		if known && (!invert && b == isolated || invert && b == removed) {
			return scanSplit{scan}, nil
		}
		re, err := compile(*p.Regex)
		if err != nil {
			return nil, err
		}
		return regexSplit{re, b, invert}, nil
	case p.String != nil && *p.String != "":
		re, err := compile(escape(*p.String))
		if err != nil {
			return nil, err
		}
		return regexSplit{re, b, invert}, nil
	}
	return nil, errors.New("no pattern")
}

// escape writes s as an expression that matches it and nothing else.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf && strings.ContainsRune(`\*+?|{}[]()^$.#- `, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// newMetaspace reads the fields that the pre-tokenizer and the decoder share.
// Old files say add_prefix_space where newer ones say prepend_scheme.
func newMetaspace(replacement, scheme string, prefixSpace, split *bool) (metaspace, error) {
	r, n := utf8.DecodeRuneInString(replacement)
	if n == 0 || n != len(replacement) {
		return metaspace{}, fmt.Errorf("replacement %q is not one character", replacement)
	}
	m := metaspace{replacement: r, cut: split == nil || *split}
	switch scheme {
	case "always":
	case "first":
		m.prepend = prependFirst
	case "never":
		m.prepend = prependNever
	case "":
		if prefixSpace != nil && !*prefixSpace {
			m.prepend = prependNever
		}
	default:
		return metaspace{}, unsupported("prepend_scheme", scheme)
	}
	return m, nil
}
