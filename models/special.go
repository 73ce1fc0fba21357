package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models/gguf"
)

// tokenIDs is a token or a list of them, as config.json writes eos_token_id.
type tokenIDs []int32

func (t *tokenIDs) UnmarshalJSON(b []byte) error {
	var one *int32
	if json.Unmarshal(b, &one) == nil {
		if one != nil {
			*t = tokenIDs{*one}
		}
		return nil
	}
	var list []*int32
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	for _, id := range list {
		if id == nil {
			return errors.New("a list of tokens has a null")
		}
		*t = append(*t, *id)
	}
	return nil
}

// special reads the tokens that begin and end a text: from config.json, and
// generation_config.json where it lists more; or from GGUF metadata. Each of
// them has to be a token, and so has a folder's padding, without which
// transformers opens no model; -1 stands for none.
func (s *Source) special(c *Config) error {
	c.BOS, c.Padding = -1, -1
	if s.shape {
		return nil
	}
	if s.GGUF != nil {
		for _, key := range []string{"bos", "eos", "eot", "eom"} {
			key = "tokenizer.ggml." + key + "_token_id"
			if id, ok := s.GGUF.Int(key); ok && id != math.MaxUint32 { // -1 in 32 bits
				if err := isToken(s.Name, key, int64(id), c.Vocabulary); err != nil {
					return err
				}
			}
		}
		c.BOS, c.EOS = ggufSpecial(s.GGUF)
		return nil
	}
	for _, name := range []string{"config.json", "generation_config.json"} {
		path, b := filepath.Join(s.Name, name), s.config
		if name != "config.json" {
			if s.memory {
				break
			}
			var err error
			if b, err = regular.Text(path, regular.Config); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return fmt.Errorf("%w: %w", ErrSource, err)
			}
		}
		var v struct {
			BOS tokenIDs `json:"bos_token_id"`
			EOS tokenIDs `json:"eos_token_id"`
			Pad tokenIDs `json:"pad_token_id"`
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSource, path, err)
		}
		for _, of := range []struct {
			key string
			ids tokenIDs
		}{{"bos_token_id", v.BOS}, {"eos_token_id", v.EOS}, {"pad_token_id", v.Pad}} {
			for i, id := range of.ids {
				if id == s.Architecture.idleEnd && id > 0 && int(id) >= c.Vocabulary {
					s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %s %d, which transformers writes whatever the vocabulary is, is no token of this one: it has none", path, of.key, id))
					of.ids[i] = -1
				} else if err := isToken(path, of.key, int64(id), c.Vocabulary); err != nil {
					return err
				}
			}
		}
		if len(v.Pad) > 0 && name == "config.json" {
			c.Padding = v.Pad[0]
		}
		if len(v.BOS) > 0 {
			c.BOS = v.BOS[0]
		}
		for _, id := range v.EOS {
			if id >= 0 && !slices.Contains(c.EOS, id) {
				c.EOS = append(c.EOS, id)
			}
		}
	}
	return nil
}

// isToken refuses an id that a file gives for a token and that is none.
func isToken(file, key string, id int64, vocabulary int) error {
	if id >= -1 && id < int64(vocabulary) {
		return nil
	}
	return fmt.Errorf("%w: %s: %s %d is no token: the vocabulary has 0 to %d, and -1 stands for none", ErrSource, file, key, id, vocabulary-1)
}

// ggufSpecial reads them from GGUF metadata.
func ggufSpecial(f *gguf.File) (bos int32, eos []int32) {
	bos = -1
	if id, ok := f.Int("tokenizer.ggml.bos_token_id"); ok {
		bos = int32(id)
	}
	for _, key := range []string{"eos", "eot", "eom"} {
		if id, ok := f.Int("tokenizer.ggml." + key + "_token_id"); ok && int32(id) >= 0 && !slices.Contains(eos, int32(id)) {
			eos = append(eos, int32(id))
		}
	}
	return bos, eos
}
