package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Load reads the tokenizer.json of a model's folder and, where they are
// there, tokenizer_config.json and special_tokens_map.json for the roles of
// the special tokens. The chat template is package chat's to read.
func Load(dir string) (*Tokenizer, error) {
	path := filepath.Join(dir, "tokenizer.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	roles := make(map[string]string)
	var added []addedToken
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		config, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = readRoles(config, roles, &added)
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", filepath.Join(dir, name), err)
		}
	}
	t, err := fromJSON(data, added)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	t.roles = make(map[string]int32)
	for role, token := range roles {
		if id, ok := t.ids[token]; ok {
			t.roles[role] = id
		}
	}
	return t, nil
}

// roleNames are the keys of tokenizer_config.json that name a special token.
var roleNames = []string{
	"bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "sep_token", "mask_token",
}

// readRoles takes the special tokens and the added tokens out of a
// configuration. A token is a string or an object with its content.
func readRoles(data []byte, roles map[string]string, added *[]addedToken) error {
	var config map[string]json.RawMessage
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	for _, role := range roleNames {
		raw := config[role]
		if isNull(raw) {
			continue
		}
		var name string
		if raw[0] == '{' {
			var token addedToken
			if err := json.Unmarshal(raw, &token); err != nil {
				return fmt.Errorf("%s: %w", role, err)
			}
			name = token.Content
		} else if err := json.Unmarshal(raw, &name); err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
		roles[role] = name
	}
	raw := config["added_tokens_decoder"]
	if isNull(raw) {
		return nil
	}
	var tokens map[string]addedToken
	if err := json.Unmarshal(raw, &tokens); err != nil {
		return fmt.Errorf("added_tokens_decoder: %w", err)
	}
	for key, token := range tokens {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return fmt.Errorf("added_tokens_decoder: id %q is not a number", key)
		}
		token.ID = int32(id)
		*added = append(*added, token)
	}
	return nil
}
