package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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
	return json.Unmarshal(b, (*[]int32)(t))
}

// special reads the tokens that begin and end a text: from config.json, and
// generation_config.json where it lists more; or from GGUF metadata.
func (s *Source) special(c *Config) error {
	c.BOS = -1
	if s.shape {
		return nil
	}
	if s.GGUF != nil {
		c.BOS, c.EOS = ggufSpecial(s.GGUF)
		return nil
	}
	for _, name := range []string{"config.json", "generation_config.json"} {
		path, b := filepath.Join(s.Name, name), s.config
		if name != "config.json" {
			var err error
			if b, err = os.ReadFile(path); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return fmt.Errorf("%w: %w", ErrSource, err)
			}
		}
		var v struct {
			BOS tokenIDs `json:"bos_token_id"`
			EOS tokenIDs `json:"eos_token_id"`
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSource, path, err)
		}
		if len(v.BOS) > 0 {
			c.BOS = v.BOS[0]
		}
		for _, id := range v.EOS {
			if !slices.Contains(c.EOS, id) {
				c.EOS = append(c.EOS, id)
			}
		}
	}
	return nil
}

// ggufSpecial reads them from GGUF metadata.
func ggufSpecial(f *gguf.File) (bos int32, eos []int32) {
	bos = -1
	if id, ok := f.Int("tokenizer.ggml.bos_token_id"); ok {
		bos = int32(id)
	}
	for _, key := range []string{"eos", "eot", "eom"} {
		if id, ok := f.Int("tokenizer.ggml." + key + "_token_id"); ok && !slices.Contains(eos, int32(id)) {
			eos = append(eos, int32(id))
		}
	}
	return bos, eos
}
