package training

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// modelFile is the name of a model's tensors.
const modelFile = "model.safetensors"

const generationFile = "generation_config.json"

// SaveModel writes a base with its trained parameters as a Hugging Face
// folder, in one of Precisions. The name that the base gave itself is not the
// model's. An old configuration goes first and the new one comes last, so that
// nobody reads one model's with another's weights.
func SaveModel(dir string, base *Opened, f *Blocks, dtype string) error {
	p, ok := precisions[dtype]
	if !ok {
		return fmt.Errorf("--dtype: %q is not one of %v", dtype, Precisions())
	}
	if err := disk.MkdirAll(dir); err != nil {
		return err
	}
	written, err := base.Source.FolderConfig()
	if err != nil {
		return err
	}
	config := map[string]json.RawMessage{} // numbers stay as they are written: transformers tells 4.0 from 4
	if err := json.Unmarshal(written, &config); err != nil {
		return err
	}
	config["architectures"] = fmt.Appendf(nil, "[%q]", className(base))
	if c := base.Model.Config().Classes; c != nil {
		for _, key := range []string{"num_labels", "_num_labels", "id2label", "label2id", "problem_type"} {
			delete(config, key)
		}
		for key, value := range c.Config() {
			if config[key], err = json.Marshal(value); err != nil {
				return err
			}
		}
	}
	key := "torch_dtype" // which newer releases of transformers call dtype
	if config["dtype"] != nil {
		key = "dtype"
	}
	delete(config, "torch_dtype")
	config[key] = fmt.Appendf(nil, "%q", p.torch)
	delete(config, "_name_or_path")
	b, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "config.json")
	if err := disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.base.save(filepath.Join(dir, modelFile), p, base.Source); err != nil {
		return err
	}
	if err := saveCompanions(dir, base); err != nil {
		return err
	}
	return disk.Write(path, append(b, '\n'))
}

// className is the class of a model, with the head that it has.
func className(base *Opened) string {
	if c := base.Model.Config(); c.Classes != nil {
		return c.HeadClass(c.Classes.Task)
	}
	return base.Source.Architecture.Class
}

// companions are the base's files that go with a model.
var companions = []string{
	generationFile, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
	"vocab.json", "merges.txt", "added_tokens.json", "vocab.txt",
}

func saveCompanions(dir string, base *Opened) error {
	if base.Source.GGUF != nil {
		return tokenizer.WriteGGUF(dir, base.Source.GGUF)
	}
	if base.begun != nil {
		if err := writeJSON(filepath.Join(dir, generationFile), base.generation()); err != nil {
			return err
		}
	}
	for _, name := range companions {
		b, err := regular.Read(filepath.Join(base.Path, name), math.MaxInt64)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = disk.Write(filepath.Join(dir, name), b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// save writes every tensor of the base, and those of its source that no site has.
func (b *base) save(path string, p precision, source *models.Source) error {
	var tensors []safetensors.Tensor
	byName := map[string]*tensor{}
	for _, t := range b.tensors() {
		tensors = append(tensors, safetensors.Tensor{Name: t.Name, Shape: t.Shape, DType: p.dtype})
		byName[t.Name] = t
	}
	rest := source.Rest(b.model.Sites())
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		w := rest[name]
		t := &tensor{Parameter: Parameter{Name: name, Shape: []int{w.Rows, w.Cols}}, weight: w}
		tensors = append(tensors, safetensors.Tensor{Name: name, Shape: t.Shape, DType: p.dtype})
		byName[name] = t
	}
	return safetensors.WriteFileFunc(path, tensors, safetensors.PyTorch(), func(w io.Writer, s safetensors.Tensor) error {
		return byName[s.Name].write(w, p.format)
	})
}

// write writes the tensor as the file holds it.
func (t *tensor) write(w io.Writer, f kernels.Format) error {
	part := func(_ int, values []float32) error {
		stored := make([]byte, len(values)*f.BlockBytes())
		if err := t.encode(stored, f, values); err != nil {
			return err
		}
		_, err := w.Write(stored)
		return err
	}
	switch {
	case t.weight.Empty():
		return part(0, t.Value)
	case t.Turned:
		return part(0, t.inFileOrder(t.now().Matrix().Data))
	}
	return t.inRows(part)
}
