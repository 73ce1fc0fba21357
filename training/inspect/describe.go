package inspect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models/gguf"
)

// Description is what an adapter's folder says.
type Description struct {
	Path       string   `json:"path"`
	Method     string   `json:"method"`
	Type       string   `json:"peft_type"`
	Rank       int      `json:"rank,omitempty"`
	Base       string   `json:"base_model"`
	Task       string   `json:"task_type,omitempty"` // as PEFT calls it
	Targets    []string `json:"target_modules"`      // modules that have tensors, by their last names
	Tensors    int      `json:"tensors"`
	Parameters int      `json:"parameters"`
	Bytes      int      `json:"bytes"`
	Precision  []string `json:"precision"`
	Digest     string   `json:"digest"`
	Layers     []Layer  `json:"layers"`
}

// Layer is the part of an adapter in one block; -1 is outside the blocks.
type Layer struct {
	Layer      int                `json:"layer"`
	Parameters int                `json:"parameters"`
	Norms      map[string]float64 `json:"norms"` // Frobenius, by kind of tensor: "lora_A"
}

// Describe reads the adapter in dir, or in a file of llama.cpp's, without its base.
func Describe(dir string) (*Description, error) {
	folder, err := adapters.Open(dir)
	if err != nil {
		return nil, err
	}
	c := folder.Config
	d := &Description{Path: dir, Method: c.Method.Name(), Type: c.Type, Rank: c.Method.Rank(), Base: c.Base, Task: c.Task, Digest: folder.Digest()}
	layers, targets, precisions := map[int]*Layer{}, map[string]bool{}, map[string]bool{}
	for _, t := range folder.All() {
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		sum := 0.0
		for _, v := range values {
			sum += float64(v) * float64(v)
		}
		if sum-sum != 0 {
			return nil, fmt.Errorf("%s: tensor %q holds a NaN or an infinity", dir, t.Name)
		}
		module, kind := c.Place(t.Name)
		layer := adapters.Layer(module)
		l := layers[layer]
		if l == nil {
			l = &Layer{Layer: layer, Norms: map[string]float64{}}
			layers[layer] = l
		}
		l.Parameters += len(values)
		l.Norms[kind] = math.Sqrt(l.Norms[kind]*l.Norms[kind] + sum)
		d.Tensors, d.Parameters, d.Bytes = d.Tensors+1, d.Parameters+len(values), d.Bytes+len(t.Data)
		precisions[string(t.DType)] = true
		if module != "" {
			targets[module[strings.LastIndexByte(module, '.')+1:]] = true
		}
	}
	d.Targets, d.Precision = slices.Sorted(maps.Keys(targets)), slices.Sorted(maps.Keys(precisions))
	for _, l := range slices.SortedFunc(maps.Values(layers), func(a, b *Layer) int { return cmp.Compare(a.Layer, b.Layer) }) {
		d.Layers = append(d.Layers, *l)
	}
	return d, nil
}

// IsAdapter reports whether there is an adapter at a path, and not a whole model.
func IsAdapter(path string) bool {
	if b, err := regular.Text(filepath.Join(path, adapters.ConfigFile), regular.Config); err == nil {
		return json.Valid(b)
	}
	name, err := adapters.GGUFIn(path)
	if name == "" || err != nil {
		return false
	}
	f, err := gguf.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	kind, _ := f.String("general.type")
	return kind == "adapter"
}
