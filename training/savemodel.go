package training

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// modelFile is the name of a model's tensors.
const modelFile = "model.safetensors"

// SaveModel writes a base with its trained parameters as a Hugging Face
// folder. What was never trained keeps its stored precision where that is a
// float format; all else is F32, so nothing is rounded.
func SaveModel(dir string, base *Opened, f *Blocks) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
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
	config["architectures"] = fmt.Appendf(nil, "[%q]", base.Source.Architecture)
	config["torch_dtype"] = json.RawMessage(`"float32"`)
	delete(config, "dtype")
	b, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	if err := f.base.save(filepath.Join(dir, modelFile)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	if base.Source.GGUF != nil {
		return tokenizer.WriteGGUF(dir, base.Source.GGUF)
	}
	for _, name := range []string{
		"generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
		"vocab.json", "merges.txt", "added_tokens.json",
	} {
		b, err := os.ReadFile(filepath.Join(base.Path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *base) save(path string) error {
	var tensors []safetensors.Tensor
	byName := map[string]*tensor{}
	for _, layer := range slices.Sorted(maps.Keys(b.blocks)) {
		for _, t := range b.blocks[layer] {
			tensors = append(tensors, safetensors.Tensor{Name: t.Name, Shape: t.Shape, DType: t.dtype()})
			byName[t.Name] = t
		}
	}
	return safetensors.WriteFileFunc(path, tensors, safetensors.PyTorch(), func(w io.Writer, s safetensors.Tensor) error {
		return byName[s.Name].write(w)
	})
}

func (t *tensor) dtype() safetensors.DType {
	if t.Value == nil && !t.Turned {
		switch t.weight.Format {
		case kernels.F16:
			return safetensors.F16
		case kernels.BF16:
			return safetensors.BF16
		}
	}
	return safetensors.F32
}

func (t *tensor) write(w io.Writer) error {
	if t.dtype() != safetensors.F32 {
		_, err := w.Write(t.weight.Data)
		return err
	}
	values := t.Value
	if values == nil {
		values = t.weight.Matrix().Data
	}
	_, err := w.Write(safetensors.FromFloat32s(t.Name, t.Shape, t.inFileOrder(values)).Data)
	return err
}

// savedAsRead reports whether every matrix is written in the form in which the
// passes read it.
func (b *base) savedAsRead() bool {
	for _, block := range b.blocks {
		for _, t := range block {
			if t.Value != nil || t.weight.Format == kernels.F32 {
				continue
			}
			if t.Turned || t.dtype() == safetensors.F32 {
				return false
			}
		}
	}
	return true
}
