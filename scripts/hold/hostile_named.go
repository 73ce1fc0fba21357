package main

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/scripts/hold/mutant"
)

// names reports whether an error names a thing in the folder: a file, a key of
// its configuration or a tensor. The folder's own name is none. What is too
// large for the budget is not read, so that nothing in it is at fault.
func names(err error, dir string, folder mutant.Folder) bool {
	if errors.Is(err, catalogue.ErrSize) {
		return true
	}
	text := strings.ReplaceAll(err.Error(), dir+"/", "")
	text = strings.ReplaceAll(text, dir, "")
	for _, thing := range things(folder) {
		if thing != "" && strings.Contains(text, thing) {
			return true
		}
	}
	return keyName.MatchString(text)
}

// keyName is what keys of configurations look like, and few other words.
var keyName = regexp.MustCompile(`\b[a-z]+_[a-z_]+\b|\b[a-z_]+(\.[a-z_0-9]+)+\b|\b(architectures|r is|bias)\b`)

// things are the names of files and tensors, of the folder and of those that
// might be in one.
func things(folder mutant.Folder) []string {
	all := []string{
		"config.json", "generation_config.json", "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin",
		"model.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat template",
	}
	for name, file := range folder {
		all = append(all, name)
		if f, err := safetensors.Parse("", file.Bytes); err == nil {
			for _, name := range f.Names() {
				all = append(all, name, strconv.Quote(name))
			}
		}
		if f, err := gguf.Parse("", file.Bytes); err == nil {
			for _, t := range f.Tensors() {
				all = append(all, t.Name)
			}
			all = append(all, f.Keys()...)
		}
	}
	return all
}
