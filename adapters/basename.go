package adapters

import (
	"encoding/json"
	"regexp"
	"strings"
)

// BaseName is what the name of a base, as base_model_name_or_path or a server
// has it, is compared by. It is the last element of owner/name, of a folder, of
// a file or of a URL, or the name within a folder of the hub's cache
// (models--owner--name/snapshots/…), without what only says how the same weights
// are stored: ".gguf", a quantisation at the end ("-Q4_K_M", ".f16",
// "-bnb-4bit"). Neither case nor owner counts, since mirrors have other owners,
// and spaces, underscores and dashes are alike. Empty: it names none.
func BaseName(name string) string {
	elements := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' })
	if len(elements) == 0 {
		return ""
	}
	last := elements[len(elements)-1]
	for _, e := range elements {
		if cached, ok := strings.CutPrefix(e, "models--"); ok {
			parts := strings.Split(cached, "--")
			last = parts[len(parts)-1]
		}
	}
	last = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(last)), ".gguf")
	last = storedAs.ReplaceAllString(last, "")
	return strings.NewReplacer(" ", "-", "_", "-").Replace(last)
}

// storedAs is the end of a name that says how weights are stored.
var storedAs = regexp.MustCompile(`[-._](i?q\d(_[0-9a-z]+)*|f16|f32|bf16|fp16|(unsloth-)?bnb-[48]bit)$`)

// NamedBase is the base_model_name_or_path of the adapter in dir, which need
// not be one that loads; empty where it names none.
func NamedBase(dir string) string {
	b, _, err := readConfig(dir)
	if err != nil {
		return ""
	}
	var config struct {
		Base string `json:"base_model_name_or_path"`
	}
	if json.Unmarshal(b, &config) != nil {
		return ""
	}
	return config.Base
}
