package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// Source is the text of a model's templates, as it was found.
type Source struct {
	Text  string
	Tools string // for conversations with tools; empty: Text
}

// The files that transformers keeps templates in.
const (
	templateFile  = "chat_template.jinja"
	toolsFile     = TemplateFolder + "/tool_use.jinja"
	tokenizerFile = "tokenizer_config.json"
)

// TemplateFolder is the folder, in a model's own, of templates beside
// chat_template.jinja.
const TemplateFolder = "additional_chat_templates"

// Load reads and compiles the template of a model's folder: see [Find].
func Load(dir string) (*Template, error) {
	s, file, err := find(dir)
	if err != nil {
		return nil, err
	}
	t, err := s.Compile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, file), err)
	}
	return t, nil
}

// Metadata is that of a GGUF file.
type Metadata interface {
	String(key string) (string, bool)
}

// FromGGUF compiles the template of a GGUF file: tokenizer.chat_template and,
// for conversations with tools, tokenizer.chat_template.tool_use if there is
// one.
func FromGGUF(m Metadata) (*Template, error) {
	const key = "tokenizer.chat_template"
	text, ok := m.String(key)
	if !ok {
		return nil, ErrNoTemplate
	}
	tools, _ := m.String(key + ".tool_use")
	t, err := Source{Text: text, Tools: tools}.Compile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return t, nil
}

// Find reads the templates of a folder: chat_template.jinja and, beside it in
// additional_chat_templates, tool_use.jinja; or those in tokenizer_config.json.
// Without either the error is [ErrNoTemplate].
func Find(dir string) (Source, error) {
	s, _, err := find(dir)
	return s, err
}

// find is Find, and tells which file has the template.
func find(dir string) (s Source, file string, err error) {
	var found bool
	if s.Text, found, err = read(dir, templateFile, maxSource); err != nil {
		return Source{}, "", err
	}
	if found {
		s.Tools, _, err = read(dir, toolsFile, maxSource)
		return s, templateFile, err
	}
	config, found, err := read(dir, tokenizerFile, regular.Config)
	if err != nil {
		return Source{}, "", err
	}
	if !found {
		return Source{}, "", fmt.Errorf("%w in %s", ErrNoTemplate, dir)
	}
	s, err = fromConfig([]byte(config))
	if err == nil {
		err = errors.Join(checkSize(s.Text), checkSize(s.Tools))
	}
	if err != nil {
		return Source{}, "", fmt.Errorf("%s: %w", filepath.Join(dir, tokenizerFile), err)
	}
	return s, tokenizerFile, nil
}

// read returns the text of a file of at most most bytes, and whether it is there.
func read(dir, name string, most int64) (text string, found bool, err error) {
	b, err := regular.Read(filepath.Join(dir, filepath.FromSlash(name)), most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("chat: %w", err)
	}
	return string(b), true, nil
}

// fromConfig takes the chat_template of a tokenizer_config.json: a template, or
// named ones as a list or an object, of which "default" is used and, for
// conversations with tools, "tool_use" if there is one.
func fromConfig(config []byte) (Source, error) {
	var f struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(config, &f); err != nil {
		return Source{}, fmt.Errorf("chat: %w", err)
	}
	var one *string
	if json.Unmarshal(orNull(f.Template), &one) == nil {
		if one == nil {
			return Source{}, ErrNoTemplate
		}
		return Source{Text: *one}, nil
	}
	named, err := namedTemplates(f.Template)
	if err != nil {
		return Source{}, fmt.Errorf("chat: chat_template is neither a template nor named ones: %w", err)
	}
	text, ok := named["default"]
	if !ok {
		return Source{}, fmt.Errorf("%w named default among %d", ErrNoTemplate, len(named))
	}
	return Source{Text: text, Tools: named["tool_use"]}, nil
}

func namedTemplates(raw json.RawMessage) (map[string]string, error) {
	var list []struct{ Name, Template string }
	if json.Unmarshal(raw, &list) != nil {
		var named map[string]string
		err := json.Unmarshal(raw, &named)
		return named, err
	}
	named := make(map[string]string, len(list))
	for _, n := range list {
		named[n.Name] = n.Template
	}
	return named, nil
}
