package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// ErrNoWeights is wrapped by the error for a repository without weights that
// can be taken as a whole.
var ErrNoWeights = errors.New("no weights to take")

// described lists the small files that tell what a model or an adapter is.
var described = []string{
	"config.json", "generation_config.json", "adapter_config.json", "head_config.json",
	"tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
	"spiece.model", "sentencepiece.bpe.model", "chat_template.jinja", "chat_template.json",
	"additional_chat_templates/*.jinja",
	modulesFile, "sentence_bert_config.json", "config_sentence_transformers.json",
	"README.md", // of which an adapter's card has licence and language
}

// modulesFile lists the modules by which sentence-transformers makes embeddings, with
// the folders that they lie in.
const modulesFile = "modules.json"

// ModelFiles chooses, of a repository's files, those that a model or an
// adapter is loaded from: configuration, tokenizer, and the weights as
// safetensors with their index, or as torch checkpoints where there are no
// safetensors. A GGUF is taken only when a Ref names it, since a repository
// often holds the same model in a dozen forms. What lies in the folders that
// modules.json names is ModuleFiles'.
func ModelFiles(all []string) ([]string, error) {
	files := matching(all, described...)
	weights := matching(all, "*.safetensors", "*.safetensors.index.json")
	if len(matching(weights, "model*.safetensors")) > 0 { // a second copy of the same weights
		weights = slices.DeleteFunc(weights, func(f string) bool { return strings.HasPrefix(f, "consolidated") })
	}
	if len(matching(weights, "*.safetensors")) == 0 {
		weights = matching(all, "pytorch_model*.bin", "pytorch_model.bin.index.json", "adapter_model.bin", "pytorch_adapter.bin")
	}
	if len(weights) == 0 {
		if ggufs := matching(all, "*.gguf", "*/*.gguf"); len(ggufs) > 0 {
			return nil, fmt.Errorf("%w: name one of its GGUF files after ':': %s", ErrNoWeights, strings.Join(ggufs, ", "))
		}
		return nil, fmt.Errorf("%w: neither safetensors nor torch checkpoints", ErrNoWeights)
	}
	return sorted(append(files, weights...)), nil
}

// AdapterFiles chooses those that an adapter is loaded from: as ModelFiles does, or
// the one GGUF file of a repository without a configuration of an adapter.
func AdapterFiles(all []string) ([]string, error) {
	ggufs := matching(all, "*.gguf")
	if len(ggufs) != 1 || slices.Contains(all, "adapter_config.json") {
		return ModelFiles(all)
	}
	return sorted(append(matching(all, described...), ggufs...)), nil
}

// sorted are files in order, each once.
func sorted(files []string) []string {
	slices.Sort(files)
	return slices.Compact(files)
}

// ModuleFiles chooses, of a repository's files, those in the folders that its
// modules.json names: configurations, and weights as safetensors. What cannot be read
// names none: whoever opens it will say so.
func ModuleFiles(modules []byte, all []string) []string {
	var list []struct {
		Path string `json:"path"`
	}
	if json.Unmarshal(modules, &list) != nil {
		return nil
	}
	var found []string
	for _, file := range all {
		dir, ext := path.Dir(file), path.Ext(file)
		if dir == "." || ext != ".json" && ext != ".safetensors" {
			continue
		}
		for _, m := range list {
			if path.Clean(m.Path) == dir {
				found = append(found, file)
				break
			}
		}
	}
	return found
}

func matching(all []string, patterns ...string) []string {
	var found []string
	for _, file := range all {
		if slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, file); return ok }) {
			found = append(found, file)
		}
	}
	return found
}

// parts lists the files of which file, named by a Ref, is one: itself, or all
// parts of a split GGUF.
func parts(file string) []string {
	const tail = "-00001-of-00001.gguf"
	if at := len(file) - len(tail); at > 0 {
		var no, count int
		n, _ := fmt.Sscanf(file[at:], "-%05d-of-%05d.gguf", &no, &count)
		if n == 2 && file[at:] == fmt.Sprintf("-%05d-of-%05d.gguf", no, count) {
			all := make([]string, count)
			for i := range all {
				all[i] = fmt.Sprintf("%s-%05d-of-%05d.gguf", file[:at], i+1, count)
			}
			return all
		}
	}
	return []string{file}
}
