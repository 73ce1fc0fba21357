package models

import (
	"fmt"
	"regexp"
)

// tokenizerKeys are keys of the tokenizer that may be missing. One of another
// type must not count as such.
var tokenizerKeys = []struct {
	name *regexp.Regexp
	is   func(v any) bool
	want string
}{
	{regexp.MustCompile(`^tokenizer\.ggml\.\w+_token_id$`), is[int], "a whole number"},
	{regexp.MustCompile(`^tokenizer\.ggml\.(add_(bos|eos|sep)_token|add_space_prefix|remove_extra_whitespaces|escape_whitespaces)$`), is[bool], "true or false"},
	{regexp.MustCompile(`^tokenizer\.(ggml\.(model|pre)|chat_template(\.\w+)?)$`), is[string], "a text"},
}

func is[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

// checkTokenizer notes keys of the tokenizer with values of another type.
func (k *ggufKeys) checkTokenizer() {
	for _, key := range k.s.GGUF.Keys() {
		for _, known := range tokenizerKeys {
			if !known.name.MatchString(key) {
				continue
			}
			if v, ok := k.s.GGUF.Value(key); ok && !known.is(v) {
				k.s.fault("metadata: %s is %.60q, not %s", key, fmt.Sprint(v), known.want)
			}
		}
	}
}
