package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// FromJSON reads a tokenizer.json. A component that it does not know, and a
// field of one, is an error that names it.
func FromJSON(data []byte) (*Tokenizer, error) {
	t, err := fromJSON(data, nil)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return t, nil
}

// file is a tokenizer.json. Truncation and padding are the caller's to decide.
type file struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

// fromJSON builds a tokenizer from a tokenizer.json and the added tokens of
// tokenizer_config.json, which may be more.
func fromJSON(data []byte, more []addedToken) (*Tokenizer, error) {
	var f file
	if err := decodeStrict(data, &f); err != nil {
		return nil, err
	}
	t := new(Tokenizer)
	var err error
	if err = t.parseNormalizer(f.Normalizer, "normalizer"); err != nil {
		return nil, err
	}
	pre := splitting{}
	if err = pre.parse(f.PreTokenizer, "pre_tokenizer"); err != nil {
		return nil, err
	}
	ids, err := t.parseModel(f.Model, &pre)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	t.splitters = pre.splitters
	if err := t.setPieces(ids, merged(f.AddedTokens, more)); err != nil {
		return nil, err
	}
	t.single, t.pair = bareSingle, barePair
	if err := t.parsePostProcessor(f.PostProcessor, "post_processor"); err != nil {
		return nil, err
	}
	var d decoderChain
	if err := d.parse(f.Decoder, "decoder"); err != nil {
		return nil, err
	}
	if err := d.build(t); err != nil {
		return nil, err
	}
	return t, t.finish()
}

// merged appends to tokens those of more that are new.
func merged(tokens, more []addedToken) []addedToken {
	have := make(map[string]bool, len(tokens))
	for _, token := range tokens {
		have[token.Content] = true
	}
	for _, token := range more {
		if !have[token.Content] {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// setPieces lays out the vocabulary by id and files the added tokens.
func (t *Tokenizer) setPieces(ids map[string]int32, added []addedToken) error {
	top := none
	for piece, id := range ids {
		if id < 0 {
			return fmt.Errorf("vocabulary: %q has id %d", piece, id)
		}
		top = max(top, id)
	}
	for _, token := range added {
		if token.ID < 0 {
			return fmt.Errorf("added_tokens: %q has id %d", token.Content, token.ID)
		}
		top = max(top, token.ID)
	}
	if known := len(ids) + len(added); int(top) > 2*known+1<<16 {
		return fmt.Errorf("vocabulary: id %d is far beyond its %d pieces", top, known)
	}
	t.pieces = make([]string, top+1)
	t.special = make([]bool, top+1)
	t.ids = make(map[string]int32, len(ids)+len(added))
	for piece, id := range ids {
		if other := t.pieces[id]; other != "" {
			return fmt.Errorf("vocabulary: %q and %q share id %d", min(piece, other), max(piece, other), id)
		}
		t.pieces[id] = piece
		t.ids[piece] = id
	}
	for _, token := range added {
		switch {
		case token.Content == "":
			return fmt.Errorf("added_tokens: id %d has no content", token.ID)
		case len(token.Content) > maxAdded:
			return fmt.Errorf("added_tokens: id %d has %d bytes: at most %d are taken", token.ID, len(token.Content), maxAdded)
		}
		if id, ok := ids[token.Content]; ok && id != token.ID {
			return fmt.Errorf("added_tokens: %q has id %d, and %d in the vocabulary", token.Content, token.ID, id)
		}
		t.pieces[token.ID] = token.Content
		t.ids[token.Content] = token.ID
		t.special[token.ID] = token.Special
		if token.Special {
			t.model.hide(token.Content)
		}
		content := token.Content
		if !token.Normalized {
			t.raw.add(content, token)
			continue
		}
		content, err := t.normalize(content, func() bool { return true })
		if err != nil {
			return fmt.Errorf("added_tokens: %q: %w", token.Content, err)
		}
		t.normalized.add(content, token)
	}
	return nil
}

// maxAdded bounds an added token, which is looked for at every place of a text.
const maxAdded = 4096

// finish derives what bounds an encoding, and tries the stages on a text that
// every tokenizer can take.
func (t *Tokenizer) finish() error {
	t.shrink = t.shrinks()
	for _, token := range slices.Concat(t.raw.tokens, t.normalized.tokens) {
		t.longest = max(t.longest, len(token.Content))
	}
	_, err := t.Encode("Aa zZ 09 .,'\n é あ", true)
	return err
}

// shrinks is how many bytes of a text may become one of its words, 0 where
// anything may come to nothing.
func (t *Tokenizer) shrinks() int {
	if slices.ContainsFunc(t.splitters, splitter.drops) {
		return 0
	}
	for _, token := range slices.Concat(t.raw.tokens, t.normalized.tokens) {
		if token.LStrip || token.RStrip {
			return 0
		}
	}
	shrink := 1
	for _, n := range t.normalizers {
		if shrink *= n.shrink; shrink == 0 || shrink > 1<<20 {
			return 0
		}
	}
	return shrink
}

// decodeStrict unmarshals one JSON value and refuses fields that into lacks.
func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the JSON value")
	}
	return nil
}

// component is what each stage of a tokenizer.json begins with.
type component struct {
	Type string `json:"type"`
}

// isNull reports whether a stage is absent.
func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// stageType returns the type of a stage, "" if the stage is absent.
func stageType(raw json.RawMessage, path string) (string, error) {
	if isNull(raw) {
		return "", nil
	}
	var c component
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if c.Type == "" {
		return "", fmt.Errorf("%s: no type", path)
	}
	return c.Type, nil
}

// decodeStage reads a stage whose fields are those of T.
func decodeStage[T any](raw json.RawMessage, path string) (f T, err error) {
	if err := decodeStrict(raw, &f); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func unsupported(path, name string) error {
	return fmt.Errorf("%s: %q is not supported", path, name)
}

// pattern is a literal string or a regular expression.
type pattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}
