package models

import (
	"encoding/json"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/peft-serve/peft-serve/models/gguf"
)

// OwnName is the name that a base's files give it, wherever they lie: what an
// adapter calls its base, so that others find it. It is a name on the hub if the
// files say one, never a path of the machine on which they were made, and
// empty if they say nothing of use.
func (s *Source) OwnName() string {
	if s.GGUF != nil {
		return ggufName(s.GGUF)
	}
	return ConfigName(s.config)
}

// Names are those that a base's files give it: OwnName, and of a GGUF file its title and
// its repository as they stand there.
func (s *Source) Names() (names []string) {
	if name := s.OwnName(); name != "" {
		names = append(names, name)
	}
	if s.GGUF == nil {
		return names
	}
	for _, key := range []string{"general.name", "general.repo_url"} {
		if name, ok := s.GGUF.String(key); ok {
			names = append(names, name)
		}
	}
	return names
}

// ConfigName is the name that a config.json gives its model: _name_or_path, where
// that is one of the hub's. Transformers writes there what it was asked to open,
// which can be a path.
func ConfigName(config []byte) string {
	var head struct {
		Name string `json:"_name_or_path"`
	}
	if json.Unmarshal(config, &head) != nil || !IsHubName(head.Name) {
		return ""
	}
	return head.Name
}

var (
	hubName    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	checkpoint = regexp.MustCompile(`/checkpoint-[0-9]+$`)
	// ownerless are the names without an owner that the hub has of models that
	// are served here.
	ownerless = []string{
		"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2", "bert-base-uncased", "bert-base-cased",
		"bert-large-uncased", "bert-large-cased", "roberta-base", "roberta-large",
	}
)

// IsHubName reports whether a name can be one of the hub's: owner/name, or one
// of the old ones without an owner. A relative path of two parts looks the same;
// those that a trainer writes, owner/checkpoint-100, are told apart.
func IsHubName(name string) bool {
	return hubName.MatchString(name) && !checkpoint.MatchString(name) && !strings.Contains(name, "..") || slices.Contains(ownerless, name)
}

// ggufName is the repository that a GGUF file was converted from, else its
// general.name. general.base_model is the model that it was fine-tuned from,
// unless it has the same name: then the file is somebody's copy of it.
func ggufName(f *gguf.File) string {
	title, _ := f.String("general.name")
	for _, key := range []string{"general.source.huggingface.repository", "general.source.repo_url", "general.repo_url", "general.source.url"} {
		if name, _ := f.String(key); IsHubName(repository(name)) {
			return repository(name)
		}
	}
	if n, _ := f.Int("general.base_model.count"); n == 1 {
		address, _ := f.String("general.base_model.0.repo_url")
		if name := repository(address); IsHubName(name) && plain(path.Base(name)) == plain(title) {
			return name
		}
	}
	if IsPath(title) || strings.Contains(title, "/") && !IsHubName(title) {
		return ""
	}
	return title
}

// IsPath tells the path of a machine from a name: it is absolute, or says where
// it begins.
func IsPath(name string) bool {
	return filepath.IsAbs(name) || strings.HasPrefix(name, "/") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~") || strings.Contains(name, `\`)
}

// repository takes the hub's address off a name.
func repository(address string) string {
	for _, site := range []string{"https://huggingface.co/", "https://hf.co/", "hf://"} {
		address = strings.TrimPrefix(address, site)
	}
	return strings.TrimSuffix(address, "/")
}

// plain is a name without case, spaces and signs.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}
