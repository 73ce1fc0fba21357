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
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// hubHeads are the golden folders of AdapterHub's with heads, with their bases.
func hubHeads(t *testing.T) map[string]string {
	t.Helper()
	bases := map[string]string{}
	for _, pattern := range [][]string{{"encoders", "*", "adapterhub", "*"}, {"*", "adapterhub-heads", "*"}} {
		dirs, err := filepath.Glob(modeltest.Goldens(t, pattern...))
		if err != nil || len(dirs) == 0 {
			t.Fatal(dirs, err)
		}
		for _, dir := range dirs {
			base := filepath.Base(filepath.Dir(filepath.Dir(dir)))
			if len(pattern) == 4 {
				base = "encoders/" + base
			}
			bases[dir] = base
		}
	}
	return bases
}

// scores holds what an adapter's head makes of the golden texts against the
// library's.
func scores(t *testing.T, base, dir, golden string) *models.Classes {
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
	classes := a.Classes()
	file, err := safetensors.Open(filepath.Join(golden, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := models.NewPass(modeltest.Pool(t, 2))
	for i, text := range modeltest.Texts(t, filepath.Join(golden, "golden.safetensors")) {
		want, err := file.Tensor("scores." + string(rune('0'+i)))
		if err != nil {
			t.Fatal(err)
		}
		values, err := want.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		text.Adapter = a
		got := modeltest.Classify(t, m, p, classes.Task, []int{want.Shape[1]}, text)[0]
		for r := range got.Rows {
			for c, v := range got.Row(r) {
				if d := v - values[r*want.Shape[1]+c]; !(d <= 1e-4 && -d <= 1e-4) {
					t.Fatalf("text %d: score %d of row %d is off by %.3g", i, c, r, d)
				}
			}
		}
	}
	return classes
}

// TestAdapterHubHeads converts what the library saved with a head, holds its scores
// against the library's, and converts it back to the same bytes and settings.
func TestAdapterHubHeads(t *testing.T) {
	for dir, base := range hubHeads(t) {
		t.Run(base+"/"+filepath.Base(dir), func(t *testing.T) {
			out, back := filepath.Join(t.TempDir(), "peft"), filepath.Join(t.TempDir(), "hub")
			there, err := Convert(Options{From: dir, To: out, Base: shape(t, base)})
			if err != nil {
				t.Fatal(err)
			}
			classes := scores(t, base, out, dir)
			formed := []string{"bert/deep", "bert/deep-tags", "roberta/flat", "distilbert/default", "electra/linear", "llama-gqa/default"}
			if name := filepath.Base(base) + "/" + filepath.Base(dir); slices.Contains(formed, name) != (classes.Form != nil) {
				t.Errorf("its form is %+v", classes.Form)
			}
			again, err := Convert(Options{From: out, To: back, Base: shape(t, base), Name: "golden"})
			if err != nil {
				t.Fatal(err)
			}
			if again.Tensors != there.Tensors || again.Parameters != there.Parameters {
				t.Errorf("%+v came back as %+v", there, again)
			}
			if filepath.Base(dir) == "static" { // it comes back in a form
				return
			}
			for _, files := range [][]string{hubFiles, hubHeadFiles} {
				a, closeA, err := readTensors(dir, files...)
				if err != nil {
					t.Fatal(err)
				}
				defer closeA()
				b, closeB, err := readTensors(back, files...)
				if err != nil {
					t.Fatal(err)
				}
				defer closeB()
				same(t, a, b)
			}
			settings(t, dir, back)
			sameHead(t, dir, back)
		})
	}
}

// sameHead demands that a head that came back is the library's, but for what says
// nothing: the activation of one linear.
func sameHead(t *testing.T, dir, back string) {
	t.Helper()
	read := func(dir string) (head *hubHead, class string) {
		b, err := os.ReadFile(filepath.Join(dir, hubHeadConfig))
		if err == nil {
			head, err = parseHubHead(b)
		}
		var file map[string]any
		if err == nil {
			err = json.Unmarshal(b, &file)
		}
		if err != nil {
			t.Fatal(err)
		}
		return head, text(file["model_class"]) + text(file["name"])
	}
	want, wantClass := read(dir)
	got, gotClass := read(back)
	if got.kind != want.kind || got.number != want.number || !slices.Equal(got.names, want.names) || got.form != want.form || gotClass != wantClass {
		t.Errorf("%+v of %s, the library's is %+v of %s", got, gotClass, want, wantClass)
	}
}

// TestClassesOfConverted: names and the problem are those of the head.
func TestClassesOfConverted(t *testing.T) {
	for name, want := range map[string]models.Classes{
		"bert/adapterhub/default":    {Names: []string{"no", "yes", "perhaps"}},
		"bert/adapterhub/deep":       {Names: models.ClassNames(4), Problem: models.MultiLabel},
		"bert/adapterhub/tags":       {Names: []string{"O", "B-PER", "I-PER"}},
		"roberta/adapterhub/default": {Names: models.ClassNames(1), Problem: models.Regression},
	} {
		base := "encoders/" + strings.Split(name, "/")[0]
		out := filepath.Join(t.TempDir(), "peft")
		if _, err := Convert(Options{From: modeltest.Goldens(t, "encoders", name), To: out, Base: shape(t, base)}); err != nil {
			t.Fatal(err)
		}
		f, err := adapters.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		a, err := adapters.Load(modeltest.Open(t, base), f)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Classes(); !slices.Equal(got.Names, want.Names) || got.Problem != want.Problem {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestHeadsRefused: heads that are not held, and files that are wrong, are named.
func TestHeadsRefused(t *testing.T) {
	golden := modeltest.Goldens(t, "encoders", "bert", "adapterhub", "deep")
	for _, c := range []struct {
		name, old, new string
		want           error
		says           string
	}{
		{"another kind", `"multilabel_classification"`, `"masked_lm"`, ErrHold, `head_type "masked_lm"`},
		{"an unknown key", `"layers": 3`, `"layers": 3, "sorcery": 1`, ErrHold, `"sorcery"`},
		{"an activation", `"relu"`, `"mish9"`, ErrHold, `activation_function "mish9"`},
		{"no layers", `"layers": 3`, `"layers": 0`, ErrHold, "0 layers"},
		{"fewer layers", `"layers": 3`, `"layers": 2`, ErrTensor, "heads.golden.7"},
		{"more layers", `"layers": 3`, `"layers": 4`, ErrTensor, "missing"},
		{"classes", `"num_labels": 4`, `"num_labels": 0`, ErrConfig, "num_labels is 0"},
		{"half a layer", `"layers": 3`, `"layers": 2.5`, ErrConfig, "layers is 2.5"},
		{"half a class", `"num_labels": 4`, `"num_labels": 4.5`, ErrConfig, "num_labels is 4.5"},
		{"a pooler that is no flag", `"use_pooler": true`, `"use_pooler": "true"`, ErrConfig, "use_pooler is true, want true or false"},
		{"a bias that is no flag", `"bias": true`, `"bias": 0`, ErrConfig, "bias is 0, want true or false"},
		{"an activation that is no name", `"relu"`, `["relu"]`, ErrConfig, "activation_function is [relu]"},
		{"names of no key that is read", `"layers": 3`, `"layers": 3, "id2label": {"0": "a"}`, ErrHold, `"id2label"`},
		{"names", `"label2id": {`, `"label2id": {"LABEL_9": 2, `, ErrConfig, "label2id"},
		{"a class of a model", `"config": {`, `"config": null, "was": {`, ErrHold, "BertAdapterModel"},
		{"no JSON", `{`, `[`, ErrConfig, hubHeadConfig},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, hubHeadConfig)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Replace(b, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(changed, b) {
			t.Fatalf("%s: %s is not in %s", c.name, c.old, b)
		}
		write(t, path, changed)
		out := filepath.Join(t.TempDir(), "out")
		o := Options{From: dir, To: out, Base: shape(t, "encoders/bert")}
		if _, err := Convert(o); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v: %s", c.name, err, c.want, c.says)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: something was written", c.name)
		}
		if o.NoHead = true; errors.Is(c.want, ErrHold) {
			if _, err := Convert(o); err != nil {
				t.Errorf("%s, without the head: %v", c.name, err)
			}
		}
	}
	if _, err := Convert(Options{From: golden, To: filepath.Join(t.TempDir(), "out")}); !errors.Is(err, ErrBase) {
		t.Errorf("without a base: %v", err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, hubHeadConfig)); err != nil {
		t.Fatal(err)
	}
	if _, err := Convert(Options{From: dir, To: filepath.Join(t.TempDir(), "out"), Base: shape(t, "encoders/bert")}); !errors.Is(err, ErrConfig) {
		t.Errorf("without a configuration: %v", err)
	}
}

// TestOptionsThatNothingReads: an option of another form than those at hand is refused.
func TestOptionsThatNothingReads(t *testing.T) {
	peft, hub := modeltest.Goldens(t, "heads/bert/text"), modeltest.Goldens(t, "encoders", "bert", "adapterhub", "deep")
	base := shape(t, "encoders/bert")
	for want, o := range map[string]Options{
		"--without-head": {From: peft, Form: AdapterHub, NoHead: true},
		"--lora-alpha":   {From: hub, Alpha: 16},
		"--name":         {From: hub, Name: "golden"},
	} {
		o.To, o.Base = filepath.Join(t.TempDir(), "out"), base
		if _, err := Convert(o); !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if _, err := os.Stat(o.To); err == nil {
			t.Errorf("%s: something was written", want)
		}
	}
}
