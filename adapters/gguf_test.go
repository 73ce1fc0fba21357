package adapters_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// A file of llama.cpp's converter answers as the folder of PEFT that it was made of, to
// the bit.
func TestGGUFIsTheFolder(t *testing.T) {
	files, err := filepath.Glob(modeltest.Goldens(t, "*", "ggufadapters", "*.gguf"))
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	pool := modeltest.Pool(t, 2)
	for _, file := range files {
		base := filepath.Dir(filepath.Dir(file))
		name := strings.TrimSuffix(filepath.Base(file), adapters.GGUFSuffix)
		t.Run(filepath.Base(base)+"/"+name, func(t *testing.T) {
			m := modeltest.Open(t, filepath.Base(base))
			folder := filepath.Join(base, "adapters", name)
			peft, theirs := asConverted(t, m, folder, file), adaptertest.Load(t, m, file)
			differs := false
			for _, c := range modeltest.Cases(t, filepath.Join(folder, "golden.safetensors")) {
				want := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: c.Tokens, Adapter: peft})[0]
				got := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: c.Tokens, Adapter: theirs})[0]
				none := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: c.Tokens})[0]
				if d := modeltest.MaxDifference(got, want); d != 0 {
					t.Errorf("a logit is off by %g", d)
				}
				differs = differs || modeltest.MaxDifference(none, want) > 0
			}
			if !differs {
				t.Error("the adapter does nothing")
			}
			if peft.Digest() == theirs.Digest() {
				t.Error("content in another order has the same digest")
			}
		})
	}
}

// asConverted is the adapter of a folder with what the converter loses of it: it does
// not know alphas of single modules, and the one file in Q8_0 has a rounded A, and B in
// F16, whose rows are too short.
func asConverted(t *testing.T, m models.Model, dir, file string) *adapters.Adapter {
	t.Helper()
	f, err := adapters.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, adapters.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := json.Unmarshal(b, &values); err != nil {
		t.Fatal(err)
	}
	delete(values, "alpha_pattern")
	config, err := adapters.NewConfig(values)
	if err != nil {
		t.Fatal(err)
	}
	tensors := f.All()
	if strings.HasSuffix(file, "llama-gqa/ggufadapters/lora.gguf") {
		for i, tensor := range tensors {
			form := kernels.Q8_0
			if strings.HasSuffix(tensor.Name, ".lora_B.weight") {
				form = kernels.F16
			}
			weight, err := tensor.Weight()
			if err != nil {
				t.Fatal(err)
			}
			values := weight.Floats()
			stored := make([]byte, weight.Rows*form.RowBytes(weight.Cols))
			if err := kernels.Encode(stored, form, values); err != nil {
				t.Fatal(err)
			}
			kernels.Decode(values, form, stored)
			tensors[i] = safetensors.FromFloat32s(tensor.Name, tensor.Shape, values)
		}
	}
	a, err := adapters.Load(m, adapters.NewFolder(dir, config, tensors))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ggufFile is a file with what a test changes of a valid one for llama-gqa.
func ggufFile(t *testing.T, dir string, change func(w *gguf.Writer, says map[string]any)) string {
	t.Helper()
	says := map[string]any{"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": float32(8)}
	w := gguf.NewWriter("")
	change(w, says)
	for key, value := range says {
		w.Set(key, value)
	}
	path := filepath.Join(dir, "a.gguf")
	if err := w.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func floats(n int, v float32) []byte {
	values := make([]float32, n)
	for i := range values {
		values[i] = v
	}
	b := make([]byte, 4*n)
	if err := kernels.Encode(b, kernels.F32, values); err != nil {
		panic(err)
	}
	return b
}

// pair adds the factors of a tensor.
func pair(w *gguf.Writer, on string, in, out, rank int, v float32) {
	w.Add(on+".lora_a", gguf.TypeF32, []int{in, rank}, floats(in*rank, v))
	w.Add(on+".lora_b", gguf.TypeF32, []int{rank, out}, floats(out*rank, v))
}

// What is no adapter, or one that is not known, is refused by name.
func TestGGUFRefused(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	hidden := m.Config().Hidden
	for name, c := range map[string]struct {
		kind   error
		says   string
		change func(w *gguf.Writer, says map[string]any)
	}{
		"a model":                   {adapters.ErrConfig, `its general.type is "model"`, func(w *gguf.Writer, says map[string]any) { says["general.type"] = "model" }},
		"another kind":              {adapters.ErrConfig, `its adapter.type is "control_vector"`, func(w *gguf.Writer, says map[string]any) { says["adapter.type"] = "control_vector" }},
		"an unknown key":            {adapters.ErrConfig, "adapter.lora.task_name is not implemented", func(w *gguf.Writer, says map[string]any) { says["adapter.lora.task_name"] = "x" }},
		"an alpha of whole numbers": {adapters.ErrConfig, "its adapter.lora.alpha is no float", func(w *gguf.Writer, says map[string]any) { says["adapter.lora.alpha"] = uint32(8) }},
		"an invocation of text": {adapters.ErrConfig, "its adapter.alora.invocation_tokens is no list of integers", func(w *gguf.Writer, says map[string]any) {
			says["adapter.alora.invocation_tokens"] = "7 8"
		}},
		"a base of no name": {adapters.ErrConfig, "its general.base_model.0.name is no text", func(w *gguf.Writer, says map[string]any) { says["general.base_model.0.name"] = uint32(8) }},
		"no architecture":   {adapters.ErrBase, `its general.architecture is "king"`, func(w *gguf.Writer, says map[string]any) { says["general.architecture"] = "king" }},
		"another base": {adapters.ErrBase, "the file is for the architecture qwen2", func(w *gguf.Writer, says map[string]any) {
			says["general.architecture"] = "qwen2"
			pair(w, "blk.0.attn_v.weight", hidden, 16, 4, 1)
		}},
		"nothing":           {adapters.ErrTensor, "it has none", func(*gguf.Writer, map[string]any) {}},
		"an unknown tensor": {adapters.ErrTensor, "unexpected: blk.0.ssm_in.weight.lora_a", func(w *gguf.Writer, says map[string]any) { pair(w, "blk.0.ssm_in.weight", hidden, 16, 4, 1) }},
		"a norm": {adapters.ErrTensor, "unexpected: blk.0.attn_norm.weight", func(w *gguf.Writer, says map[string]any) {
			w.Add("blk.0.attn_norm.weight", gguf.TypeF32, []int{hidden}, floats(hidden, 1))
		}},
		"a block beyond": {adapters.ErrTarget, "layers.99", func(w *gguf.Writer, says map[string]any) { pair(w, "blk.99.attn_v.weight", hidden, 16, 4, 1) }},
		"one factor": {adapters.ErrTensor, "missing: base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", func(w *gguf.Writer, says map[string]any) {
			w.Add("blk.0.attn_v.weight.lora_a", gguf.TypeF32, []int{hidden, 4}, floats(4*hidden, 1))
		}},
		"three dimensions": {adapters.ErrTensor, "has 3 dimensions", func(w *gguf.Writer, says map[string]any) {
			w.Add("blk.0.attn_v.weight.lora_a", gguf.TypeF32, []int{hidden, 2, 2}, floats(4*hidden, 1))
		}},
		"a wrong shape": {adapters.ErrTensor, "has shape", func(w *gguf.Writer, says map[string]any) { pair(w, "blk.0.attn_v.weight", hidden, 17, 4, 1) }},
		"an infinity": {adapters.ErrTensor, "holds a NaN or an infinity", func(w *gguf.Writer, says map[string]any) {
			pair(w, "blk.0.attn_v.weight", hidden, 16, 4, float32(math.Inf(1)))
		}},
		"an alpha below 0": {adapters.ErrConfig, "lora_alpha is -1", func(w *gguf.Writer, says map[string]any) {
			says["adapter.lora.alpha"] = float32(-1)
			pair(w, "blk.0.attn_v.weight", hidden, 16, 4, 1)
		}},
		"factors at variance": {adapters.ErrTensor, "is of rank 2, its other factor of rank 4", func(w *gguf.Writer, says map[string]any) {
			w.Add("blk.0.attn_v.weight.lora_a", gguf.TypeF32, []int{hidden, 4}, floats(4*hidden, 1))
			w.Add("blk.0.attn_v.weight.lora_b", gguf.TypeF32, []int{2, 16}, floats(32, 1))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := ggufFile(t, t.TempDir(), c.change)
			folder, err := adapters.Open(path)
			if err == nil {
				_, err = adapters.Load(m, folder)
			}
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Without alpha the scale is 1, whatever the ranks are.
func TestGGUFWithoutAlpha(t *testing.T) {
	m, pool := modeltest.Open(t, "llama-gqa"), modeltest.Pool(t, 1)
	hidden := m.Config().Hidden
	load := func(rank int, alpha float32) *adapters.Adapter {
		return adaptertest.Load(t, m, ggufFile(t, t.TempDir(), func(w *gguf.Writer, says map[string]any) {
			says["adapter.lora.alpha"] = alpha
			pair(w, "blk.0.attn_v.weight", hidden, 16, rank, 0.1)
			pair(w, "blk.1.attn_v.weight", hidden, 16, 4, 0.1)
		}))
	}
	logits := func(a *adapters.Adapter) kernels.Matrix {
		return adaptertest.Logits(m, pool, adaptertest.Row{Tokens: []int32{2, 7, 8}, Adapter: a})[0]
	}
	if d := modeltest.MaxDifference(logits(load(4, 0)), logits(load(4, 4))); d != 0 {
		t.Errorf("off by %g", d)
	}
	load(2, 0)
}

// In a folder it is the adapter where there is no configuration; two are none.
func TestGGUFInAFolder(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	b, err := os.ReadFile(modeltest.Goldens(t, "llama-gqa", "ggufadapters", "lora-all-linear.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("one.gguf")
	write("._one.gguf")
	a := adaptertest.Load(t, m, dir)
	if alone := adaptertest.Load(t, m, filepath.Join(dir, "one.gguf")); alone.Digest() != a.Digest() {
		t.Error("the digest is of the place")
	}
	if got := adapters.FolderBytes(m, dir, adapters.AsStored); got < a.Bytes()/2 || got > len(b) {
		t.Errorf("%d bytes, and the adapter has %d", got, a.Bytes())
	}
	write("two.gguf")
	if _, err := adapters.Open(dir); err == nil || !strings.Contains(err.Error(), "one.gguf and two.gguf are both there") {
		t.Errorf("got %v", err)
	}
}

// Put right for its base, a file of llama.cpp's is saved as a folder of PEFT's that
// computes the same; as it is it is not saved.
func TestGGUFForABase(t *testing.T) {
	pool := modeltest.Pool(t, 1)
	for _, name := range []string{"llama-gqa/ggufadapters/lora", "llama-gqa/ggufadapters/lora-embed", "phi3/ggufadapters/lora"} {
		base, _, _ := strings.Cut(name, "/")
		m, file := modeltest.Open(t, base), adaptertest.Open(t, modeltest.Goldens(t, name+adapters.GGUFSuffix))
		dir := filepath.Join(t.TempDir(), "saved")
		if err := file.Save(dir); err == nil || !strings.Contains(err.Error(), "in llama.cpp's order") {
			t.Errorf("%s: saved as it is: %v", name, err)
		}
		own, err := file.For(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := own.Save(dir); err != nil {
			t.Fatal(err)
		}
		theirs, err := adapters.Load(m, file)
		if err != nil {
			t.Fatal(err)
		}
		tokens := []int32{2, 7, 8}
		want := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens, Adapter: theirs})[0]
		got := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens, Adapter: adaptertest.Load(t, m, dir)})[0]
		if d := modeltest.MaxDifference(got, want); d != 0 {
			t.Errorf("%s: the saved one is off by %g", name, d)
		}
	}
}

// llama.cpp's converter turns the factors of GPT-2: what may be turned is refused, and
// what is not, by a shape, is read.
func TestGGUFOfConv1D(t *testing.T) {
	m := modeltest.Open(t, "gpt2")
	hidden := m.Config().Hidden
	load := func(add func(w *gguf.Writer)) error {
		path := ggufFile(t, t.TempDir(), func(w *gguf.Writer, says map[string]any) {
			says["general.architecture"] = "gpt2"
			add(w)
		})
		_, err := adapters.Load(m, adaptertest.Open(t, path))
		return err
	}
	if err := load(func(w *gguf.Writer) {
		pair(w, "blk.0.attn_qkv.weight", hidden, 3*hidden, 4, 1)
		pair(w, "blk.0.attn_output.weight", hidden, hidden, 4, 1)
	}); err != nil {
		t.Error(err)
	}
	for name, add := range map[string]func(w *gguf.Writer){
		"square": func(w *gguf.Writer) { pair(w, "blk.0.attn_output.weight", hidden, hidden, 4, 1) },
		"turned": func(w *gguf.Writer) { pair(w, "blk.0.attn_qkv.weight", 3*hidden, hidden, 4, 1) },
	} {
		if err := load(add); !errors.Is(err, adapters.ErrTensor) || !strings.Contains(err.Error(), "converter turns those of gpt2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzGGUF reads whatever it is given as a file of llama.cpp's: what is not refused by
// name can be loaded or is refused then.
func FuzzGGUF(f *testing.F) {
	for _, name := range []string{"lora-f16", "lora-patterns", "lora-embed", "alora", "lora"} {
		b, err := os.ReadFile(modeltest.Goldens(f, "llama-gqa", "ggufadapters", name+adapters.GGUFSuffix))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	m := modeltest.Open(f, "llama-gqa")
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "a.gguf")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		folder, err := adapters.Open(path)
		if err == nil {
			_, err = adapters.Load(m, folder)
		}
		if err != nil && !strings.HasPrefix(err.Error(), path) {
			t.Errorf("no file in %v", err)
		}
	})
}
