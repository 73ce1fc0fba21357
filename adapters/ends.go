package adapters

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// An endToken is a token that ends an adapter's answers, as one of the files
// beside its tensors names it: by its id or by its text.
type endToken struct {
	file, key string
	id        int32
	text      string // empty: the id tells
}

// generationFile says how to generate, as transformers saves it.
const generationFile = "generation_config.json"

// readEnds reads the end tokens that a folder names.
func readEnds(dir string) ([]endToken, error) {
	var ends []endToken
	for _, from := range []struct {
		file, key string
		parse     func(raw json.RawMessage, e endToken) ([]endToken, error)
	}{
		{generationFile, "eos_token_id", endIDs},
		{"tokenizer_config.json", "eos_token", endText},
		{"special_tokens_map.json", "eos_token", endText},
	} {
		b, err := regular.Text(filepath.Join(dir, from.file), maxBeside)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var keys map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(b, &keys)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrConfig, from.file, err)
		}
		raw := keys[from.key]
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		found, err := from.parse(raw, endToken{file: from.file, key: from.key})
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %s is %.80s: %w", ErrConfig, from.file, from.key, raw, err)
		}
		ends = append(ends, found...)
	}
	return ends, nil
}

// endIDs reads an id or a list of them.
func endIDs(raw json.RawMessage, e endToken) (ends []endToken, err error) {
	if json.Unmarshal(raw, &e.id) == nil {
		return []endToken{e}, nil
	}
	ids, err := listOf[int32](raw)
	if err != nil {
		return nil, errors.New("it has to be a token's id or a list of them")
	}
	for _, id := range ids {
		e.id = id
		ends = append(ends, e)
	}
	return ends, nil
}

// endText reads a token's text, or an object with its content.
func endText(raw json.RawMessage, e endToken) ([]endToken, error) {
	var token struct {
		Content string `json:"content"`
	}
	if json.Unmarshal(raw, &e.text) != nil {
		if json.Unmarshal(raw, &token) != nil {
			return nil, errors.New("it has to be a token's text or an object with its content")
		}
		e.text = token.Content
	}
	if e.text == "" {
		return nil, errors.New("there is no text")
	}
	return []endToken{e}, nil
}

// resolve returns the token's id, which is below vocabulary.
func (e endToken) resolve(text *tokenizer.Tokenizer, vocabulary int) (int32, error) {
	named := fmt.Sprint(e.id)
	if e.text != "" {
		named = fmt.Sprintf("%q", e.text)
		var ok bool
		if e.id, ok = text.ID(e.text); !ok {
			return 0, fmt.Errorf("%w: %s: %s %s is not a token of the tokenizer: name one of its tokens, or leave the key out", ErrConfig, e.file, e.key, named)
		}
		named += fmt.Sprintf(", token %d,", e.id)
	}
	if e.id < 0 || int(e.id) >= vocabulary {
		return 0, fmt.Errorf("%w: %s: %s %s is outside the vocabulary of %d", ErrConfig, e.file, e.key, named, vocabulary)
	}
	return e.id, nil
}
