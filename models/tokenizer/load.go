package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// A Source is what the files of a folder say of its tokenizer: tokenizer.json
// and, where they are there, tokenizer_config.json and special_tokens_map.json
// for the roles of the special tokens and for more added tokens. The chat
// template is package chat's to read.
type Source struct {
	path  string
	file  []byte
	roles map[string]string
	added []addedToken
}

// maxFile bounds a tokenizer.json, in bytes.
const maxFile = 256 << 20

// ReadSource reads the files of a folder.
func ReadSource(dir string) (*Source, error) {
	s := &Source{path: filepath.Join(dir, "tokenizer.json"), roles: make(map[string]string)}
	var err error
	if s.file, err = regular.Text(s.path, maxFile); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		config, err := regular.Text(filepath.Join(dir, name), regular.Config)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = readRoles(config, s.roles, &s.added)
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", filepath.Join(dir, name), err)
		}
	}
	slices.SortFunc(s.added, func(a, b addedToken) int { return cmp.Compare(a.ID, b.ID) })
	return s, nil
}

// A Key tells what tokenizers are made from, but for the roles of their tokens,
// apart for as long as this process runs.
type Key [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// Key is the source's: quicker to come by than a digest, since every load of an
// adapter waits for it.
func (s *Source) Key() (k Key) {
	added, _ := json.Marshal(s.added) // there is nothing in it that cannot be written
	for i, seed := range seeds {
		var h maphash.Hash
		h.SetSeed(seed)
		_, _ = h.Write(s.file)
		_, _ = h.Write(added)
		k[i] = h.Sum64()
	}
	return k
}

// Len is how many bytes its tokenizer.json has.
func (s *Source) Len() int { return len(s.file) }

// Inherit takes over the roles that t's tokens have and that the files do not
// name.
func (s *Source) Inherit(t *Tokenizer) {
	for role, id := range t.roles {
		if s.roles[role] == "" {
			s.roles[role] = t.Token(id)
		}
	}
}

// Roles spells the roles of the tokens, one way only.
func (s *Source) Roles() string {
	roles, _ := json.Marshal(s.roles)
	return string(roles)
}

// Tokenizer builds it.
func (s *Source) Tokenizer() (*Tokenizer, error) {
	t, err := fromJSON(s.file, s.added)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", s.path, err)
	}
	t.roles = s.rolesIn(t)
	return t, nil
}

func (s *Source) rolesIn(t *Tokenizer) map[string]int32 {
	roles := make(map[string]int32)
	for role, token := range s.roles {
		if id, ok := t.ids[token]; ok {
			roles[role] = id
		}
	}
	return roles
}

// WithRoles is t with the roles that a source names, whose tokenizer does the
// same. It takes no memory of its own.
func (t *Tokenizer) WithRoles(s *Source) *Tokenizer {
	other := *t
	other.roles, other.shares = s.rolesIn(t), true
	return &other
}

// Load reads the tokenizer of a model's folder.
func Load(dir string) (*Tokenizer, error) {
	s, err := ReadSource(dir)
	if err != nil {
		return nil, err
	}
	return s.Tokenizer()
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
