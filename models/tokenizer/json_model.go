package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// parseModel sets the model and returns the vocabulary.
func (t *Tokenizer) parseModel(raw json.RawMessage, pre *splitting) (map[string]int32, error) {
	if isNull(raw) {
		return nil, errors.New("missing")
	}
	// Files of old versions leave the type out; the fields tell it.
	var shape struct {
		Type    string          `json:"type"`
		Vocab   json.RawMessage `json:"vocab"`
		Merges  json.RawMessage `json:"merges"`
		Longest json.RawMessage `json:"max_input_chars_per_word"`
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		return nil, err
	}
	if shape.Type == "" {
		switch {
		case !isNull(shape.Merges):
			shape.Type = "BPE"
		case !isNull(shape.Longest):
			shape.Type = "WordPiece"
		case bytes.HasPrefix(shape.Vocab, []byte("[")):
			shape.Type = "Unigram"
		default:
			return nil, errors.New("no type, and the fields do not tell it")
		}
	}
	if shape.Type != "BPE" {
		pre.spell()
	}
	switch shape.Type {
	case "BPE":
		return t.parseBPE(raw, pre)
	case "WordPiece":
		return t.parseWordPiece(raw)
	case "Unigram":
		return t.parseUnigram(raw)
	case "WordLevel":
		return t.parseWordLevel(raw)
	}
	return nil, unsupported("type", shape.Type)
}

func (t *Tokenizer) parseBPE(raw json.RawMessage, pre *splitting) (map[string]int32, error) {
	var f struct {
		component
		Dropout       *float64         `json:"dropout"`
		Unknown       *string          `json:"unk_token"`
		SubwordPrefix *string          `json:"continuing_subword_prefix"`
		WordSuffix    *string          `json:"end_of_word_suffix"`
		FuseUnknown   bool             `json:"fuse_unk"`
		ByteFallback  bool             `json:"byte_fallback"`
		IgnoreMerges  bool             `json:"ignore_merges"`
		Vocab         map[string]int32 `json:"vocab"`
		Merges        json.RawMessage  `json:"merges"`
	}
	if err := decodeStrict(raw, &f); err != nil {
		return nil, err
	}
	if f.Dropout != nil && *f.Dropout != 0 {
		return nil, unsupported("BPE", "dropout")
	}
	m := &bpe{byteLevel: pre.byteLevel, fallback: f.ByteFallback, fuse: f.FuseUnknown, whole: f.IgnoreMerges}
	if f.SubwordPrefix != nil {
		m.prefix = *f.SubwordPrefix
	}
	if f.WordSuffix != nil {
		m.suffix = *f.WordSuffix
	}
	if m.byteLevel && (m.prefix != "" || m.suffix != "" || m.fallback && !spellsBytes(f.Vocab)) {
		m.byteLevel = false // pieces are more than bytes: the model reads their spelling
		pre.spell()
	}
	var err error
	if m.unknown, err = unknownID(f.Unknown, f.Vocab); err != nil {
		return nil, err
	}
	merges, err := parseMerges(f.Merges)
	if err != nil {
		return nil, err
	}
	if err := m.addMerges(f.Vocab, merges); err != nil {
		return nil, err
	}
	m.finish(f.Vocab)
	t.model = m
	return f.Vocab, nil
}

// spellsBytes reports whether every letter of the byte alphabet is a piece, so
// that no fallback is ever needed.
func spellsBytes(vocab map[string]int32) bool {
	for _, r := range byteToRune {
		if _, ok := vocab[string(r)]; !ok {
			return false
		}
	}
	return true
}

// unknownID returns the id of the unknown token, or none without one.
func unknownID(token *string, vocab map[string]int32) (int32, error) {
	if token == nil {
		return none, nil
	}
	id, ok := vocab[*token]
	if !ok {
		return none, fmt.Errorf("unk_token %q is not in the vocabulary", *token)
	}
	return id, nil
}

// parseMerges reads merges, each "left right" in older files, ["left", "right"]
// in newer ones.
func parseMerges(raw json.RawMessage) ([][2]string, error) {
	if isNull(raw) {
		return nil, nil
	}
	var lines []string
	if first := bytes.TrimLeft(raw[1:], " \t\r\n"); !bytes.HasPrefix(first, []byte("[")) {
		if err := json.Unmarshal(raw, &lines); err != nil {
			return nil, fmt.Errorf("merges: %w", err)
		}
		merges := make([][2]string, len(lines))
		for i, line := range lines {
			left, right, ok := strings.Cut(line, " ")
			if !ok || strings.Contains(right, " ") {
				return nil, fmt.Errorf("merge %d, %q, is not two pieces", i, line)
			}
			merges[i] = [2]string{left, right}
		}
		return merges, nil
	}
	var pairs [][]string
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, fmt.Errorf("merges: %w", err)
	}
	merges := make([][2]string, len(pairs))
	for i, pair := range pairs {
		if len(pair) != 2 {
			return nil, fmt.Errorf("merge %d, %q, is not two pieces", i, pair)
		}
		merges[i] = [2]string{pair[0], pair[1]}
	}
	return merges, nil
}

func (t *Tokenizer) parseWordPiece(raw json.RawMessage) (map[string]int32, error) {
	var f struct {
		component
		Unknown string           `json:"unk_token"`
		Prefix  string           `json:"continuing_subword_prefix"`
		Longest int              `json:"max_input_chars_per_word"`
		Vocab   map[string]int32 `json:"vocab"`
	}
	if err := decodeStrict(raw, &f); err != nil {
		return nil, err
	}
	unknown, err := unknownID(&f.Unknown, f.Vocab)
	if err != nil {
		return nil, err
	}
	if f.Longest == 0 {
		f.Longest = 100
	}
	m := &wordPiece{starts: f.Vocab, continues: make(map[string]int32), unknown: unknown, maxRunes: f.Longest}
	for piece, id := range f.Vocab {
		if rest, ok := strings.CutPrefix(piece, f.Prefix); ok && rest != "" {
			m.continues[rest] = id
		}
	}
	m.finish()
	t.model = m
	return f.Vocab, nil
}

func (t *Tokenizer) parseWordLevel(raw json.RawMessage) (map[string]int32, error) {
	var f struct {
		component
		Unknown string           `json:"unk_token"`
		Vocab   map[string]int32 `json:"vocab"`
	}
	if err := decodeStrict(raw, &f); err != nil {
		return nil, err
	}
	unknown, err := unknownID(&f.Unknown, f.Vocab)
	if err != nil {
		return nil, err
	}
	t.model = &wordLevel{words: f.Vocab, unknown: unknown}
	return f.Vocab, nil
}
