package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Load reads the template of a model's folder: chat_template.jinja, or the one
// in tokenizer_config.json. Without either the error is [ErrNoTemplate].
func Load(dir string) (*Template, error) {
	path := filepath.Join(dir, "chat_template.jinja")
	source, err := os.ReadFile(path)
	if err == nil {
		t, err := New(string(source))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return t, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("chat: %w", err)
	}
	path = filepath.Join(dir, "tokenizer_config.json")
	config, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNoTemplate, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	t, err := FromConfig(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// FromConfig takes the chat_template of a tokenizer_config.json: a template or
// a list of named ones, of which "default" is used and, for conversations with
// tools, "tool_use" if there is one.
func FromConfig(config []byte) (*Template, error) {
	var f struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(config, &f); err != nil {
		return nil, fmt.Errorf("chat: tokenizer_config.json: %w", err)
	}
	if len(f.Template) == 0 || string(f.Template) == "null" {
		return nil, ErrNoTemplate
	}
	var source string
	if f.Template[0] != '[' {
		if err := json.Unmarshal(f.Template, &source); err != nil {
			return nil, fmt.Errorf("chat: chat_template: %w", err)
		}
		return New(source)
	}
	var named []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if err := json.Unmarshal(f.Template, &named); err != nil {
		return nil, fmt.Errorf("chat: chat_template: %w", err)
	}
	sources := make(map[string]string)
	for _, n := range named {
		sources[n.Name] = n.Template
	}
	source, ok := sources["default"]
	if !ok {
		return nil, fmt.Errorf("%w named default among %d", ErrNoTemplate, len(named))
	}
	t, err := New(source)
	if err != nil {
		return nil, err
	}
	if source, ok := sources["tool_use"]; ok {
		if t.tools, err = compile(source); err != nil {
			return nil, fmt.Errorf("tool_use: %w", err)
		}
	}
	return t, nil
}
