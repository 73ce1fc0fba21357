package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// Trained is what a Trainer has learnt.
type Trained struct {
	special []string
	digits  bool
	pieces  []string // by id, in the byte alphabet
	merges  [][2]string
}

// Roles name special tokens; empty: there is none of that role.
type Roles struct {
	BOS string
	EOS string
	Pad string
}

// named are the roles that are given, as tokenizer_config.json calls them.
func (r Roles) named() map[string]string {
	named := map[string]string{"bos_token": r.BOS, "eos_token": r.EOS, "pad_token": r.Pad}
	maps.DeleteFunc(named, func(_, token string) bool { return token == "" })
	return named
}

// Validate reports roles that are given to none of the special tokens.
func (r Roles) Validate(special []string) error {
	var faults []error
	named := r.named()
	for _, role := range slices.Sorted(maps.Keys(named)) {
		if !slices.Contains(special, named[role]) {
			faults = append(faults, fmt.Errorf("%s: %q is none of the special tokens %q", role, named[role], special))
		}
	}
	return errors.Join(faults...)
}

// Write writes tokenizer.json and tokenizer_config.json, as Load and the Python
// libraries read them. A chat template is optional.
func (t *Trained) Write(dir string, r Roles, chat string) error {
	config := map[string]any{
		"tokenizer_class":              "PreTrainedTokenizerFast",
		"clean_up_tokenization_spaces": false,
		"model_input_names":            []string{"input_ids", "attention_mask"},
	}
	if err := r.Validate(t.special); err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	for role, token := range r.named() {
		config[role] = token
	}
	if chat != "" {
		config["chat_template"] = chat
	}
	content, err := t.file()
	if err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	return writeFolder(dir, content, config)
}

// file is the tokenizer.json.
func (t *Trained) file() (map[string]any, error) {
	added := make([]addedToken, len(t.special))
	for i, token := range t.special {
		added[i] = addedToken{ID: int32(i), Content: token, Special: true}
	}
	vocabulary, err := byID(t.pieces)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil,
		"pre_tokenizer": cutsWords(t.digits), "post_processor": nil,
		"decoder": stage{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model": stage{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary, "merges": t.merges,
		},
	}, nil
}

// byID is a JSON object of pieces and ids, in the order of the ids.
func byID(pieces []string) (json.RawMessage, error) {
	b := []byte{'{'}
	for id, piece := range pieces {
		name, err := json.Marshal(piece)
		if err != nil {
			return nil, err
		}
		if id > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%s:%d", name, id)
	}
	return append(b, '}'), nil
}

// writeFolder writes the files of a tokenizer into a model's folder.
func writeFolder(dir string, file, config map[string]any) error {
	for name, value := range map[string]any{"tokenizer.json": file, "tokenizer_config.json": config} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(value); err != nil {
			return fmt.Errorf("tokenizer: %s: %w", name, err)
		}
		if err := disk.Write(filepath.Join(dir, name), b.Bytes()); err != nil {
			return fmt.Errorf("tokenizer: %w", err)
		}
	}
	return nil
}
