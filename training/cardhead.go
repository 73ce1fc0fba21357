package training

import (
	"bytes"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
)

// cardHead is what stands at the head of a README.md for the hub to read.
type cardHead struct {
	Base        string `yaml:"base_model,omitempty"`
	Library     string `yaml:"library_name,omitempty"`
	License     words  `yaml:"license,omitempty"`
	LicenseName string `yaml:"license_name,omitempty"`
	LicenseLink string `yaml:"license_link,omitempty"`
	Languages   words  `yaml:"language,omitempty"`
	Tags        list   `yaml:"tags,omitempty"`
	Task        string `yaml:"pipeline_tag,omitempty"`
}

// words are one word, or a list of them.
type words []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (w *words) UnmarshalYAML(node *yaml.Node) error {
	var one string
	if node.Kind == yaml.ScalarNode && node.Decode(&one) == nil {
		if one != "" && node.Tag != "!!null" {
			*w = words{one}
		}
		return nil
	}
	return node.Decode((*[]string)(w))
}

// MarshalYAML implements yaml.Marshaler.
func (w words) MarshalYAML() (any, error) {
	if len(w) == 1 {
		return w[0], nil
	}
	return []string(w), nil
}

// list is words that are written as a list in any case.
type list []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (l *list) UnmarshalYAML(node *yaml.Node) error { return (*words)(l).UnmarshalYAML(node) }

// front is the head between its dashes.
func (h cardHead) front() []byte {
	var b bytes.Buffer
	b.WriteString("---\n")
	out := yaml.NewEncoder(&b)
	out.SetIndent(2)
	if err := out.Encode(h); err != nil {
		panic(err) // texts can be written
	}
	b.WriteString("---\n")
	return b.Bytes()
}

// head is that of what a run has made: licence, language and tags are the base's.
func (r *Run) head() cardHead {
	h := headOf(r.Base.Path, r.Base.Source.GGUF)
	h.Tags = slices.DeleteFunc(h.Tags, ofTheBaseAlone)
	kind := "finetune"
	if a, ok := r.Trainer.Method.(*Adapted); ok {
		kind = "adapter"
		if c := a.Trainee.Config(); c.OfPEFT() {
			h.Library = "peft"
		}
	} else {
		h.Library = "transformers"
	}
	h.Tags = append(h.Tags, r.Method)
	if models.IsHubName(r.BaseName) {
		h.Base = r.BaseName
		h.Tags = append(h.Tags, "base_model:"+kind+":"+r.BaseName)
	}
	if h.LicenseLink != "" && !strings.Contains(h.LicenseLink, "://") { // a file beside the base's card
		if h.Base == "" {
			h.LicenseLink = ""
		} else {
			h.LicenseLink = "https://huggingface.co/" + h.Base + "/blob/main/" + strings.TrimPrefix(h.LicenseLink, "./")
		}
	}
	slices.Sort(h.Tags)
	h.Tags, h.Task = slices.Compact(h.Tags), "text-generation"
	if r.heads != nil {
		h.Task = pipelines[r.heads.Task]
	}
	return h
}

// pipelines are what the hub calls the tasks of heads.
var pipelines = map[models.Task]string{models.Classify: "text-classification", models.Tag: "token-classification"}

// ofTheBaseAlone reports whether a tag is about the base's files, or one that the
// hub gives itself.
func ofTheBaseAlone(tag string) bool {
	kind, _, own := strings.Cut(tag, ":")
	return own && slices.Contains([]string{"base_model", "license", "region", "arxiv", "doi", "dataset"}, kind) ||
		slices.Contains([]string{"transformers", "safetensors", "pytorch", "gguf", "onnx", "text-generation", "text-generation-inference", "sentence-similarity", "feature-extraction", "fill-mask", "autotrain_compatible", "endpoints_compatible"}, tag)
}

var frontMatter = regexp.MustCompile(`(?s)\A\x{feff}?---\r?\n(.*?)\r?\n---\s*(\r?\n|\z)`)

// headOf reads what a base says of itself: in its README.md or, of a GGUF file,
// in its metadata. A card is for people: one that cannot be read says nothing.
func headOf(path string, file *gguf.File) (h cardHead) {
	if file != nil {
		license, _ := file.String("general.license")
		if license != "" {
			h.License = words{license}
		}
		h.LicenseName, _ = file.String("general.license.name")
		h.LicenseLink, _ = file.String("general.license.link")
		h.Languages, _ = file.Strings("general.languages")
		h.Tags, _ = file.Strings("general.tags")
		return h
	}
	text, err := regular.Text(filepath.Join(path, "README.md"), regular.Config)
	if err != nil {
		return h
	}
	var base struct { // and nothing else of the head, which may be as it likes
		License     words  `yaml:"license"`
		LicenseName string `yaml:"license_name"`
		LicenseLink string `yaml:"license_link"`
		Languages   words  `yaml:"language"`
		Tags        list   `yaml:"tags"`
	}
	if m := frontMatter.FindSubmatch(text); m == nil || yaml.Unmarshal(m[1], &base) != nil {
		return h
	}
	return cardHead{License: base.License, LicenseName: base.LicenseName, LicenseLink: base.LicenseLink, Languages: base.Languages, Tags: base.Tags}
}
