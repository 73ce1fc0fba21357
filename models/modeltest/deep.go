package modeltest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// inLayer finds the number of the layer that a tensor is part of.
var inLayer = regexp.MustCompile(`^(.*?\b(?:layer|layers|h)\.)(\d+)(\..*)$`)

// Deep opens a base like that of a golden folder that has so many layers: its own, one
// after the other again and again, each time with other values.
func Deep(t testing.TB, dir string, layers int) models.Model {
	t.Helper()
	f, err := safetensors.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	own := 0
	for tensor := range f.All() {
		if m := inLayer.FindStringSubmatch(tensor.Name); m != nil {
			n, _ := strconv.Atoi(m[2])
			own = max(own, n+1)
		}
	}
	var tensors []safetensors.Tensor
	for tensor := range f.All() {
		m := inLayer.FindStringSubmatch(tensor.Name)
		if m == nil {
			tensors = append(tensors, tensor)
			continue
		}
		values, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(m[2])
		for layer := range layers {
			if of := layer; layer >= own && own > 1 {
				if of = 1 + (layer-1)%(own-1); of != n { // the first layer of some is unlike the others
					continue
				}
			} else if own > 1 && of != n {
				continue
			}
			other := make([]float32, len(values))
			for i, v := range values {
				other[i] = v * (1 + float32(layer)/16)
			}
			tensors = append(tensors, safetensors.FromFloat32s(m[1]+strconv.Itoa(layer)+m[3], tensor.Shape, other))
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"num_hidden_layers", "n_layers", "n_layer"} {
		if _, ok := config[key]; ok {
			config[key] = layers
		}
	}
	delete(config, "layer_types")
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := os.WriteFile(filepath.Join(to, "config.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.WriteFile(filepath.Join(to, "model.safetensors"), tensors, safetensors.PyTorch()); err != nil {
		t.Fatal(err)
	}
	model, source, err := models.Open(to, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return model
}
