package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// splitting collects the pre-tokenizers of a file.
type splitting struct {
	splitters []splitter
	byteLevel bool // the last one is a ByteLevel: the model reads raw bytes
}

// spell makes the last ByteLevel write text in the byte alphabet.
func (p *splitting) spell() {
	if p.byteLevel {
		p.byteLevel = false
		p.splitters = append(p.splitters, spellSplit{})
	}
}

func (p *splitting) parse(raw json.RawMessage, path string) error {
	name, err := stageType(raw, path)
	if err != nil || name == "" {
		return err
	}
	if name == "Sequence" {
		f, err := decodeStage[struct {
			component
			PreTokenizers []json.RawMessage `json:"pretokenizers"`
		}](raw, path)
		for i := 0; i < len(f.PreTokenizers) && err == nil; i++ {
			err = p.parse(f.PreTokenizers[i], fmt.Sprintf("%s.pretokenizers[%d]", path, i))
		}
		return err
	}
	p.spell()
	if len(p.splitters) >= maxStages {
		return fmt.Errorf("%s: more than %d stages", path, maxStages)
	}
	return p.add(name, raw, path)
}

// add adds what the pre-tokenizer of that name does.
func (p *splitting) add(name string, raw json.RawMessage, path string) error {
	add := func(s ...splitter) { p.splitters = append(p.splitters, s...) }
	switch name {
	case "ByteLevel":
		f, err := decodeStage[byteLevelFields](raw, path)
		if f.PrefixSpace != nil && *f.PrefixSpace {
			add(prefixSpace{})
		}
		if f.UseRegex == nil || *f.UseRegex {
			add(scanSplit{name: patternGPT2, scan: scanGPT2})
		}
		p.byteLevel = true
		return err
	case "Split":
		f, err := decodeStage[struct {
			component
			Pattern  pattern `json:"pattern"`
			Behavior string  `json:"behavior"`
			Invert   bool    `json:"invert"`
		}](raw, path)
		if err != nil {
			return err
		}
		s, err := newSplit(path, f.Pattern, f.Behavior, f.Invert)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		add(s)
	case "Digits":
		f, err := decodeStage[struct {
			component
			Individual bool `json:"individual_digits"`
		}](raw, path)
		b := contiguous
		if f.Individual {
			b = isolated
		}
		add(atNumbers(b))
		return err
	case "Punctuation":
		f, err := decodeStage[struct {
			component
			Behavior string `json:"behavior"`
		}](raw, path)
		b, ok := behaviors[cmp.Or(f.Behavior, "Isolated")]
		if err == nil && !ok {
			err = unsupported(path, f.Behavior)
		}
		add(atPunctuation(b))
		return err
	case "Whitespace":
		add(scanSplit{name: "words", scan: scanWords}, dropSpace{})
		return bare(raw, path)
	case "WhitespaceSplit":
		add(atSpaces())
		return bare(raw, path)
	case "BertPreTokenizer":
		add(atSpaces(), atPunctuation(isolated))
		return bare(raw, path)
	case "CharDelimiterSplit":
		f, err := decodeStage[struct {
			component
			Delimiter string `json:"delimiter"`
		}](raw, path)
		if err == nil && utf8.RuneCountInString(f.Delimiter) != 1 {
			err = fmt.Errorf("%s: delimiter %q is not one character", path, f.Delimiter)
		}
		delimiter, _ := utf8.DecodeRuneInString(f.Delimiter)
		add(runeSplit{f.Delimiter, func(r rune) bool { return r == delimiter }, removed})
		return err
	case "FixedLength":
		f, err := decodeStage[struct {
			component
			Length int `json:"length"`
		}](raw, path)
		if err == nil && f.Length < 1 {
			err = fmt.Errorf("%s: length %d", path, f.Length)
		}
		add(chunkSplit{length: f.Length})
		return err
	case "Metaspace":
		m, err := parseMetaspace(raw, path)
		if err == nil && m.prepend == prependFirst && len(p.splitters) > 0 {
			err = fmt.Errorf("%s: prepend_scheme \"first\" after another pre-tokenizer is not supported", path)
		}
		add(m)
		return err
	default:
		return unsupported(path, name)
	}
	return nil
}

// bare refuses fields of a stage that has none.
func bare(raw json.RawMessage, path string) error {
	_, err := decodeStage[component](raw, path)
	return err
}

// byteLevelFields are those of ByteLevel, as a pre-tokenizer, post-processor
// and decoder. trim_offsets is about offsets alone.
type byteLevelFields struct {
	component
	PrefixSpace *bool `json:"add_prefix_space"`
	TrimOffsets bool  `json:"trim_offsets"`
	UseRegex    *bool `json:"use_regex"`
}

// newSplit takes a scanner for the expressions that have one.
func newSplit(path string, p pattern, name string, invert bool) (splitter, error) {
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
			return scanSplit{name: *p.Regex, scan: scan}, nil
		}
		if *p.Regex == `\p{N}` && !invert {
			return atNumbers(b), nil
		}
		x, err := compile(*p.Regex)
		if err != nil {
			return nil, err
		}
		return regexSplit{path, *p.Regex, x, b, invert}, nil
	case p.String != nil && *p.String != "":
		return regexSplit{path, *p.String, literal(*p.String), b, invert}, nil
	}
	return nil, errors.New("no pattern")
}

// parseMetaspace reads the pre-tokenizer or decoder. Old files say
// add_prefix_space where newer ones say prepend_scheme, and repeat the
// replacement as str_rep.
func parseMetaspace(raw json.RawMessage, path string) (metaspace, error) {
	f, err := decodeStage[struct {
		component
		Replacement string  `json:"replacement"`
		Scheme      *string `json:"prepend_scheme"`
		PrefixSpace *bool   `json:"add_prefix_space"`
		Split       *bool   `json:"split"`
		StrRep      string  `json:"str_rep"`
	}](raw, path)
	if err != nil {
		return metaspace{}, err
	}
	r, n := utf8.DecodeRuneInString(f.Replacement)
	if n == 0 || n != len(f.Replacement) {
		return metaspace{}, fmt.Errorf("%s: replacement %q is not one character", path, f.Replacement)
	}
	m := metaspace{replacement: r, cut: f.Split == nil || *f.Split}
	scheme := ""
	if f.Scheme != nil {
		scheme = *f.Scheme
	}
	switch scheme {
	case "always":
	case "first":
		m.prepend = prependFirst
	case "never":
		m.prepend = prependNever
	case "":
		if f.PrefixSpace != nil && !*f.PrefixSpace {
			m.prepend = prependNever
		}
	default:
		return metaspace{}, unsupported(path+".prepend_scheme", scheme)
	}
	return m, nil
}
