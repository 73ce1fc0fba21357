package adaptertest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// forgery is an adapter's files in a form that is easy to change.
type forgery struct {
	config  map[string]any
	tensors []safetensors.Tensor // Data is a copy
}

// tampered demands that what is wrong with a folder is refused by a sentinel
// error that names the folder and the thing at fault.
func (s Suite) tampered(t *testing.T, m models.Model) {
	largest := func(f *forgery) *safetensors.Tensor {
		return slices.MaxFunc(pointers(f.tensors), func(a, b *safetensors.Tensor) int { return len(a.Data) - len(b.Data) })
	}
	for name, c := range map[string]struct {
		kind  error
		forge func(f *forgery) (names string)
	}{
		"missing tensor": {adapters.ErrTensor, func(f *forgery) string {
			// A base layer's own weight may be left out, what PEFT writes twice, and
			// one of two tied embeddings.
			i := slices.IndexFunc(f.tensors, func(x safetensors.Tensor) bool {
				for _, spare := range []string{".base_layer.weight", ".modules_to_save.", ".original_module.", ".lm_head.trainable_tokens_delta", ".lm_head.token_adapter."} {
					if strings.Contains(x.Name, spare) {
						return false
					}
				}
				return !m.Config().Tied || !strings.HasSuffix(x.Name, ".lm_head.weight") && !strings.HasSuffix(x.Name, ".embed_tokens.weight")
			})
			if i < 0 {
				return ""
			}
			gone := f.tensors[i].Name
			f.tensors = slices.Delete(f.tensors, i, i+1)
			return gone
		}},
		"unexpected tensor": {adapters.ErrTensor, func(f *forgery) string {
			f.tensors = append(f.tensors, safetensors.FromFloat32s("base_model.model.stray.weight", []int{1}, []float32{1}))
			return "base_model.model.stray.weight"
		}},
		"shape": {adapters.ErrTensor, func(f *forgery) string {
			x := largest(f)
			if x.Shape = []int{1, 1, x.Len()}; x.Len() == 1 {
				return ""
			}
			return x.Name
		}},
		"size": {adapters.ErrTensor, func(f *forgery) string {
			x := largest(f)
			if strings.HasSuffix(x.Name, ".score.weight") { // which may have any number of rows
				return ""
			}
			x.Shape[0]++
			x.Data = make([]byte, x.Len()*x.DType.Size())
			return x.Name
		}},
		"NaN": {adapters.ErrTensor, func(f *forgery) string {
			x := largest(f)
			fill(x, math.NaN())
			return x.Name
		}},
		"infinity": {adapters.ErrTensor, func(f *forgery) string {
			x := largest(f)
			fill(x, math.Inf(-1))
			return x.Name
		}},
		"type": {adapters.ErrTensor, func(f *forgery) string {
			x := largest(f)
			*x = safetensors.Tensor{Name: x.Name, DType: safetensors.I64, Shape: x.Shape, Data: make([]byte, 8*x.Len())}
			return x.Name
		}},
		"method": {adapters.ErrMethod, func(f *forgery) string {
			f.config["peft_type"] = "NOVEL"
			return "NOVEL"
		}},
		"no method": {adapters.ErrConfig, func(f *forgery) string {
			delete(f.config, "peft_type")
			return "peft_type"
		}},
		"unknown option": {adapters.ErrConfig, func(f *forgery) string {
			f.config["use_novelty"] = true
			return "use_novelty"
		}},
		"unmatched target": {adapters.ErrTarget, func(f *forgery) string {
			list, ok := f.config["target_modules"].([]any)
			if !ok {
				return ""
			}
			f.config["target_modules"] = append(list, "no_such_proj")
			return "no_such_proj"
		}},
		"unmatched module to save": {adapters.ErrTarget, func(f *forgery) string {
			if _, ok := f.config["target_modules"]; !ok || f.config["peft_type"] == "TRAINABLE_TOKENS" || f.config["alora_invocation_tokens"] != nil { // which save none
				return ""
			}
			f.config["modules_to_save"] = []string{"no_such_head"}
			return "no_such_head"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := s.forgery(t)
			at := c.forge(f)
			if at == "" {
				t.Skip("the configuration has no such key")
			}
			s.refused(t, m, f.write(t), c.kind, at)
		})
	}
	t.Run("empty option", func(t *testing.T) {
		f := s.forgery(t)
		f.config["use_novelty"], f.config["novelty_config"] = false, nil
		Load(t, m, f.write(t))
	})
	if s.Wrong != "" {
		t.Run("wrong base", func(t *testing.T) {
			f := s.forgery(t)
			s.refused(t, openBase(t, s.Wrong), f.write(t), nil, "")
		})
	}
}

// refused demands an error from Open or Load.
func (s Suite) refused(t *testing.T, m models.Model, dir string, kind error, names string) {
	t.Helper()
	f, err := adapters.Open(dir)
	if err == nil {
		_, err = adapters.Load(m, f)
	}
	switch {
	case err == nil:
		t.Fatal("it was loaded")
	case kind != nil && !errors.Is(err, kind):
		t.Errorf("%v is not %v", err, kind)
	case !strings.HasPrefix(err.Error(), dir) || !strings.Contains(err.Error(), names):
		t.Errorf("%v does not name %s", err, names)
	}
}

func (s Suite) forgery(t *testing.T) *forgery {
	t.Helper()
	f := &forgery{}
	b, err := os.ReadFile(filepath.Join(s.Dir, adapters.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f.config); err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.Open(filepath.Join(s.Dir, adapters.SafeFile))
	if err != nil {
		t.Skip(err) // a torch file
	}
	defer func() { _ = file.Close() }()
	for x := range file.All() {
		x.Data, x.Shape = slices.Clone(x.Data), slices.Clone(x.Shape)
		f.tensors = append(f.tensors, x)
	}
	return f
}

func (f *forgery) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	b, err := json.Marshal(f.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, adapters.ConfigFile), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.WriteFile(filepath.Join(dir, adapters.SafeFile), f.tensors, safetensors.PyTorch()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func pointers(tensors []safetensors.Tensor) []*safetensors.Tensor {
	var all []*safetensors.Tensor
	for i := range tensors {
		all = append(all, &tensors[i])
	}
	return all
}

// fill sets the last element.
func fill(x *safetensors.Tensor, v float64) {
	bits := math.Float32bits(float32(v))
	switch n := len(x.Data); x.DType {
	case safetensors.F32:
		binary.LittleEndian.PutUint32(x.Data[n-4:], bits)
	case safetensors.BF16:
		binary.LittleEndian.PutUint16(x.Data[n-2:], uint16(bits>>16))
	case safetensors.F16:
		half := uint16(0x7c00) | uint16(bits>>16)&0x8000
		if math.IsNaN(v) {
			half |= 1
		}
		binary.LittleEndian.PutUint16(x.Data[n-2:], half)
	}
}
