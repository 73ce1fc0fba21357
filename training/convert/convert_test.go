package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/training/plan"
)

func shape(t *testing.T, base string) *plan.Base {
	t.Helper()
	b, err := plan.Open(modeltest.Goldens(t, base), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// logits holds a converted folder against golden logits.
func logits(t *testing.T, base, dir, golden string) {
	t.Helper()
	m := modeltest.Open(t, base)
	f, err := adapters.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapters.Load(m, f)
	if err != nil {
		t.Fatal(err)
	}
	pool := modeltest.Pool(t, 2)
	for i, c := range modeltest.Cases(t, golden) {
		got := modeltest.Logits(t, m, pool, c.Tokens, a)
		if d := modeltest.MaxDifference(got.Span(got.Rows-c.Logits.Rows, got.Rows), c.Logits); !(d <= 1e-4) {
			t.Errorf("case %d: a logit is off by %.3g", i, d)
		}
	}
}

// same demands the same tensors, byte for byte.
func same(t *testing.T, a, b []safetensors.Tensor) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%d tensors and %d", len(a), len(b))
	}
	byName := map[string]safetensors.Tensor{}
	for _, x := range a {
		byName[x.Name] = x
	}
	for _, y := range b {
		x, ok := byName[y.Name]
		if !ok || x.DType != y.DType || !bytes.Equal(x.Data, y.Data) {
			t.Errorf("%s differs (there: %v)", y.Name, ok)
		}
	}
}

// TestAdapterHub converts what AdapterHub's library saved, holds it against
// the library's logits, and converts it back to the same bytes.
func TestAdapterHub(t *testing.T) {
	dirs, err := filepath.Glob(modeltest.Goldens(t, "*", "adapterhub", "*"))
	if err != nil || len(dirs) < 9 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		base := filepath.Base(filepath.Dir(filepath.Dir(dir)))
		t.Run(base+"/"+filepath.Base(dir), func(t *testing.T) {
			out, back := filepath.Join(t.TempDir(), "peft"), filepath.Join(t.TempDir(), "hub")
			r, err := Convert(Options{From: dir, To: out, Base: shape(t, base)})
			if err != nil {
				t.Fatal(err)
			}
			if r.From != AdapterHub || r.To != PEFT || len(r.Warnings) > 0 {
				t.Errorf("%+v", r)
			}
			golden := filepath.Join(dir, "golden.safetensors")
			if _, err := os.Stat(golden); err != nil {
				golden = modeltest.Goldens(t, base, "adapters", "bottleneck-"+filepath.Base(dir), "golden.safetensors")
			}
			logits(t, base, out, golden)
			if _, err := Convert(Options{From: out, To: back, Base: shape(t, base), Name: "golden"}); err != nil {
				t.Fatal(err)
			}
			a, closeA, err := readTensors(dir, hubFiles...)
			if err != nil {
				t.Fatal(err)
			}
			defer closeA()
			b, closeB, err := readTensors(back, hubFiles...)
			if err != nil {
				t.Fatal(err)
			}
			defer closeB()
			same(t, a, b)
			settings(t, dir, back)
		})
	}
}

// settings demands that every setting of the round trip is the library's.
func settings(t *testing.T, dir, back string) {
	t.Helper()
	read := func(dir string) map[string]any {
		var file map[string]any
		b, err := os.ReadFile(filepath.Join(dir, adapters.ConfigFile))
		if err == nil {
			err = json.Unmarshal(b, &file)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"hidden_size", "model_class", "model_type", "name"} {
			if file[key] == nil {
				t.Errorf("%s is missing", key)
			}
		}
		return file["config"].(map[string]any)
	}
	want, got := read(dir), read(back)
	for key, v := range got {
		a, _ := json.Marshal(v)
		b, _ := json.Marshal(want[key])
		if !bytes.Equal(a, b) {
			t.Errorf("%s is %s, the library says %s", key, a, b)
		}
	}
}

// TestGGUF converts PEFT's golden adapters to llama.cpp's form and back to the
// same bytes and logits.
func TestGGUF(t *testing.T) {
	for _, c := range []string{"llama-gqa/lora", "llama-gqa/lora-all-linear", "llama-gqa/lora-bf16", "llama-gqa/lora-f16", "llama-gqa/lora-layers",
		"gpt2/lora-all-linear", "qwen3/dora-all-linear", "llama/lora-embed", "llama/lora-lm-head", "qwen2/lora", "mistral/lora-all-linear",
		"llama-gqa/rslora", "llama-gqa/lora-patterns", "llama-gqa/ia3", "llama-gqa/lora-lm-head-tied", "llama-gqa/lora-save-norm", "qwen2/lora-bias"} {
		base, name, _ := strings.Cut(c, "/")
		t.Run(c, func(t *testing.T) {
			dir := modeltest.Goldens(t, base, "adapters", name)
			file, back := filepath.Join(t.TempDir(), "a.gguf"), filepath.Join(t.TempDir(), "peft")
			r, err := Convert(Options{From: dir, To: file, Base: shape(t, base)})
			switch name {
			case "dora-all-linear", "ia3", "lora-lm-head-tied", "lora-save-norm", "lora-bias":
				if !errors.Is(err, ErrHold) {
					t.Errorf("not refused: %v", err)
				}
				if _, err := os.Stat(file); err == nil {
					t.Error("a file is left")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			f, err := gguf.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if kind, _ := f.String("general.type"); kind != "adapter" {
				t.Errorf("general.type is %q", kind)
			}
			if _, err := Convert(Options{From: file, To: back, Base: shape(t, base)}); err != nil {
				t.Fatal(err)
			}
			logits(t, base, back, filepath.Join(dir, "golden.safetensors"))
			if len(r.Warnings) > 0 {
				return // B was multiplied, or a copy of the base's embedding left out
			}
			a, closeA, err := readTensors(dir, adapters.SafeFile, adapters.TorchFile)
			if err != nil {
				t.Fatal(err)
			}
			defer closeA()
			b, closeB, err := readTensors(back, adapters.SafeFile)
			if err != nil {
				t.Fatal(err)
			}
			defer closeB()
			same(t, a, b)
		})
	}
}

// TestGGUFOfALoRA: the invocation goes there and back under llama.cpp's key.
func TestGGUFOfALoRA(t *testing.T) {
	dir, base := modeltest.Goldens(t, "llama-gqa", "adapters", "alora"), shape(t, "llama-gqa")
	file, back := filepath.Join(t.TempDir(), "a.gguf"), filepath.Join(t.TempDir(), "peft")
	for _, o := range []Options{{From: dir, To: file, Base: base}, {From: file, To: back, Base: base}} {
		if _, err := Convert(o); err != nil {
			t.Fatal(err)
		}
	}
	f, err := gguf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if own, _ := f.Ints("adapter.alora.invocation_tokens"); !slices.Equal(own, []int{7, 8}) {
		t.Errorf("the file has %v", own)
	}
	again, err := adapters.Open(back)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Config.Invocation(); !slices.Equal(got, []int32{7, 8}) {
		t.Errorf("it came back with %v", got)
	}
}

// TestLlamaCpp holds the tensors against those of llama.cpp's own converter.
func TestLlamaCpp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.gguf")
	if _, err := Convert(Options{From: modeltest.Goldens(t, "llama-gqa", "adapters", "lora-all-linear"), To: file, Base: shape(t, "llama-gqa")}); err != nil {
		t.Fatal(err)
	}
	theirs, err := gguf.Open(modeltest.Goldens(t, "llama-gqa", "llamacpp", "lora-all-linear.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := gguf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	if a, b := len(ours.Tensors()), len(theirs.Tensors()); a != b {
		t.Errorf("%d tensors, llama.cpp has %d", a, b)
	}
	for _, want := range theirs.Tensors() {
		got, err := ours.Tensor(want.Name)
		if err != nil || got.Type != want.Type || !slices.Equal(got.Dims, want.Dims) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s differs: %v", want.Name, err)
		}
	}
	a, _ := ours.Float("adapter.lora.alpha")
	if b, ok := theirs.Float("adapter.lora.alpha"); a != b || !ok {
		t.Errorf("alpha is %v, llama.cpp's %v", a, b)
	}
}

// What llama.cpp's converter made is read as the server reads it: tensors and scales.
func TestGGUFIsReadAsServed(t *testing.T) {
	files, err := filepath.Glob(modeltest.Goldens(t, "*", "ggufadapters", "*.gguf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		base, back := filepath.Base(filepath.Dir(filepath.Dir(file))), filepath.Join(t.TempDir(), "peft")
		if _, err := Convert(Options{From: file, To: back, Base: shape(t, base)}); err != nil {
			t.Error(err)
			continue
		}
		theirs, err := adapters.Open(file)
		if err == nil {
			theirs, err = theirs.For(modeltest.Open(t, base))
		}
		if err != nil {
			t.Fatal(err)
		}
		ours, err := adapters.Open(back)
		if err != nil {
			t.Fatal(err)
		}
		same(t, theirs.All(), ours.All())
		all, _, err := adapters.LowRank(ours.All())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			rank, scale, _, err := ours.Config.Scaling(f.Module)
			if err != nil {
				t.Fatal(err)
			}
			if r, s, _, err := theirs.Config.Scaling(f.Module); r != rank || s != scale || err != nil {
				t.Errorf("%s: %s has rank %d and scale %v, as served %d and %v (%v)", file, f.Module, rank, scale, r, s, err)
			}
		}
	}
}

// TestLoRALib reads microsoft/LoRA's checkpoint of RoBERTa on MNLI.
func TestLoRALib(t *testing.T) {
	path := modeltest.Shared(t, "adapters", "weights", "loralib_roberta_base_mnli", "roberta_base_lora_mnli.bin")
	out := filepath.Join(t.TempDir(), "peft")
	if _, err := Convert(Options{From: path, To: out}); !errors.Is(err, ErrConfig) {
		t.Errorf("without alpha: %v", err)
	}
	r, err := Convert(Options{From: path, To: out, Alpha: 16})
	if err != nil {
		t.Fatal(err)
	}
	if r.Tensors != 52 || r.Parameters != 294_912+768*768+768+3*768+3 {
		t.Errorf("%+v", r)
	}
	theirs, closeTheirs, err := readTensors(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	defer closeTheirs()
	for i := range theirs { // tensor by tensor, under PEFT's names
		name := theirs[i].Name
		if strings.HasSuffix(name, ".lora_A") || strings.HasSuffix(name, ".lora_B") {
			name += ".weight"
		}
		theirs[i].Name = prefix + name
	}
	ours, closeOurs, err := readTensors(out, adapters.SafeFile)
	if err != nil {
		t.Fatal(err)
	}
	defer closeOurs()
	same(t, theirs, ours)
	f, err := adapters.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if rank, scale, ok, err := f.Config.Scaling("roberta.encoder.layer.3.attention.self.query"); rank != 8 || scale != 2 || !ok || err != nil {
		t.Errorf("rank %d, scaling %v, %v, %v", rank, scale, ok, err)
	}
}

// TestLegacy reads names and keys of AdapterHub's first releases.
func TestLegacy(t *testing.T) {
	dir := t.TempDir()
	config := `{"config": {"LN_after": false, "LN_before": false, "MH_Adapter": false, "Output_Adapter": true, "adapter_residual_before_ln": false,
		"attention_type": "sent-lvl-dynamic", "inv_adapter": null, "inv_adapter_reduction_factor": null, "new_attention_norm": false,
		"non_linearity": "relu", "original_ln_after": true, "original_ln_before": true, "reduction_factor": 384, "residual_before_ln": true},
		"hidden_size": 768, "model_class": "RobertaModel", "model_name": "roberta-base", "model_type": "roberta", "name": "sst-2", "type": "text_task"}`
	write(t, filepath.Join(dir, adapters.ConfigFile), []byte(config))
	var tensors []safetensors.Tensor
	for i := range 12 {
		place := "roberta.encoder.layer." + string(rune('0'+i%10)) + ".output.layer_text_task_adapters.sst-2."
		if i > 9 {
			place = "roberta.encoder.layer.1" + string(rune('0'+i%10)) + ".output.layer_text_task_adapters.sst-2."
		}
		tensors = append(tensors,
			safetensors.FromFloat32s(place+"adapter_down.0.weight", []int{2, 768}, make([]float32, 2*768)),
			safetensors.FromFloat32s(place+"adapter_down.0.bias", []int{2}, make([]float32, 2)),
			safetensors.FromFloat32s(place+"adapter_up.weight", []int{768, 2}, make([]float32, 2*768)),
			safetensors.FromFloat32s(place+"adapter_up.bias", []int{768}, make([]float32, 768)))
	}
	if err := safetensors.WriteFile(filepath.Join(dir, "adapter.safetensors"), tensors, nil); err != nil {
		t.Fatal(err)
	}
	base, err := plan.Open("roberta-base", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Convert(Options{From: dir, To: filepath.Join(t.TempDir(), "peft"), Base: base})
	if err != nil || r.Tensors != 48 || r.Method != "bottleneck" {
		t.Errorf("%+v, %v", r, err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRefused: what no other form holds, and hostile input, is refused and
// leaves nothing behind.
func TestRefused(t *testing.T) {
	base := shape(t, "llama-gqa")
	golden := func(name string) string { return modeltest.Goldens(t, "llama-gqa", "adapters", name) }
	hub := func(config string) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, adapters.ConfigFile), []byte(config))
		b, err := os.ReadFile(filepath.Join(modeltest.Goldens(t, "llama-gqa", "adapterhub", "pfeiffer"), "pytorch_adapter.bin"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "pytorch_adapter.bin"), b)
		return dir
	}
	garbage := filepath.Join(t.TempDir(), "x.gguf")
	write(t, garbage, []byte("GGUF and no more"))
	for name, c := range map[string]struct {
		o    Options
		want error
	}{
		"no base":        {Options{From: golden("lora")}, ErrBase},
		"prefix to hub":  {Options{From: golden("prefix"), Base: base}, ErrHold},
		"alora to hub":   {Options{From: golden("alora"), Base: base}, ErrHold},
		"ia3 to hub":     {Options{From: golden("ia3"), Base: base}, ErrHold},
		"patterns":       {Options{From: golden("lora-patterns"), Base: base}, ErrHold},
		"saved":          {Options{From: golden("lora-save-norm"), Base: base}, ErrHold},
		"a scale":        {Options{From: hub(`{"config": {"architecture": "lora", "composition_mode": "scale"}, "model_type": "llama"}`), Base: base}, ErrHold},
		"prefix tuning":  {Options{From: hub(`{"config": {"architecture": "prefix_tuning"}, "model_type": "llama"}`), Base: base}, ErrHold},
		"an unknown key": {Options{From: hub(`{"config": {"reduction_factor": 4, "sorcery": 3}, "model_type": "llama"}`), Base: base}, ErrHold},
		"phm":            {Options{From: hub(`{"config": {"reduction_factor": 4, "phm_layer": true}, "model_type": "llama"}`), Base: base}, adapters.ErrConfig},
		"no tensors":     {Options{From: hub(`{"config": {"architecture": "lora"}, "model_type": "llama"}`), Base: base}, ErrTensor},
		"the wrong size": {Options{From: hub(`{"config": {"reduction_factor": 8, "original_ln_before": true}, "model_type": "llama"}`), Base: base}, ErrTensor},
		"no form":        {Options{From: hub(`{}`), Base: base}, ErrForm},
		"garbage":        {Options{From: garbage, Base: base}, gguf.ErrInvalid},
		"nothing":        {Options{From: filepath.Join(t.TempDir(), "x"), Base: base}, ErrForm},
	} {
		out := t.TempDir()
		c.o.To = filepath.Join(out, "out")
		if _, err := Convert(c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if entries, _ := os.ReadDir(out); len(entries) > 0 {
			t.Errorf("%s left %v", name, entries)
		}
	}
}
