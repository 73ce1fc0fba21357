package adapters_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// TestHeadConformance puts the golden adapters with heads through the suite.
func TestHeadConformance(t *testing.T) {
	for _, name := range modeltest.Heads(t, false) {
		t.Run(name, func(t *testing.T) {
			dir := modeltest.Goldens(t, name)
			s := adaptertest.Suite{Base: modeltest.Goldens(t, modeltest.HeadBase(t, name)), Dir: dir, Rounds: filepath.Base(dir) != "alone" && rounds(t, dir)}
			if base := modeltest.HeadBase(t, name); base != "gpt2" && !strings.HasPrefix(filepath.Base(name), "pr") {
				s.Wrong = modeltest.Goldens(t, "gpt2")
			}
			s.Run(t)
		})
	}
}

// under is the texts of a golden folder under its adapter.
func under(t *testing.T, name string, a *adapters.Adapter) []modeltest.Text {
	t.Helper()
	texts := modeltest.Texts(t, modeltest.Goldens(t, name, "golden.safetensors"))
	for i := range texts {
		texts[i].Adapter, texts[i].Position = a, a.PrefixTokens()
	}
	return texts
}

// TestGoldenHeads holds the scores of adapters with heads of their own against
// PEFT's, alone and beside adapters of other families with heads of other sizes.
// Virtual tokens are the engine's (runtime, TestScores).
func TestGoldenHeads(t *testing.T) {
	byBase := map[string][]string{}
	for _, name := range modeltest.Heads(t, false) {
		if !strings.Contains(name, "prompt") {
			key := modeltest.HeadBase(t, name) + " " + string(modeltest.HeadTask(t, name))
			byBase[key] = append(byBase[key], name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byBase)) {
		base, task, _ := strings.Cut(key, " ")
		t.Run(key, func(t *testing.T) {
			m := modeltest.Open(t, base)
			one, two := models.NewPass(modeltest.Pool(t, 1)), models.NewPass(modeltest.Pool(t, 2))
			var all []modeltest.Text
			var classes []int
			for _, name := range byBase[key] {
				a := adaptertest.Load(t, m, modeltest.Goldens(t, name))
				want := modeltest.Scores(t, name)
				for i, text := range under(t, name, a) {
					n := want[i].Cols
					if own := a.Classes(); own != nil && (len(own.Names) != n || own.Task != models.Task(task)) {
						t.Fatalf("%s: its classes are %+v", name, own)
					}
					got := modeltest.Classify(t, m, one, models.Task(task), []int{n}, text)[0]
					if d := modeltest.MaxDifference(got, want[i]); !(d <= 1e-4) {
						t.Errorf("%s: text %d: a score is off by %.3g", name, i, d)
					}
					all, classes = append(all, text), append(classes, n)
				}
			}
			for i, got := range modeltest.Classify(t, m, two, models.Task(task), classes, all...) {
				alone := modeltest.Classify(t, m, one, models.Task(task), classes[i:i+1], all[i])[0]
				if d := modeltest.MaxDifference(got, alone); d != 0 {
					t.Errorf("text %d: a score in a batch is off by %.3g", i, d)
				}
			}
		})
	}
}

// changed is a golden adapter in a folder of its own, after changes to its
// configuration and tensors.
func changed(t *testing.T, name string, config map[string]any, tensors func(map[string]safetensors.Tensor)) string {
	t.Helper()
	dir := t.TempDir()
	from := modeltest.Goldens(t, name)
	values := map[string]any{}
	b, err := os.ReadFile(filepath.Join(from, adapters.ConfigFile))
	if err == nil {
		err = json.Unmarshal(b, &values)
	}
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(values, config)
	if b, err = json.Marshal(values); err == nil {
		err = os.WriteFile(filepath.Join(dir, adapters.ConfigFile), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]safetensors.Tensor{}
	for _, tensor := range adaptertest.Open(t, from).All() {
		all[tensor.Name] = tensor
	}
	if tensors != nil {
		tensors(all)
	}
	var list []safetensors.Tensor
	for _, key := range slices.Sorted(maps.Keys(all)) {
		tensor := all[key]
		tensor.Name = key
		list = append(list, tensor)
	}
	out, err := os.Create(filepath.Join(dir, adapters.SafeFile))
	if err == nil {
		err = errors.Join(safetensors.Write(out, list, safetensors.PyTorch()), out.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

const classifier = "base_model.model.classifier"

// renamed gives a tensor another name, or with "" none.
func renamed(names ...string) func(map[string]safetensors.Tensor) {
	return func(tensors map[string]safetensors.Tensor) {
		for i := 0; i < len(names); i += 2 {
			if names[i+1] != "" {
				tensors[names[i+1]] = tensors[names[i]]
			}
			delete(tensors, names[i])
		}
	}
}

// rows gives the classifier so many.
func rows(n int) func(map[string]safetensors.Tensor) {
	return func(tensors map[string]safetensors.Tensor) {
		for _, kind := range []string{".weight", ".bias"} {
			t := tensors[classifier+kind]
			row := len(t.Data) / t.Shape[0]
			t.Shape = slices.Clone(t.Shape)
			t.Data, t.Shape[0] = make([]byte, n*row), n
			tensors[classifier+kind] = t
		}
	}
}

// TestOlderNamesOfHeads: a head under the names that older files have, with the
// base's beside it, is the same adapter.
func TestOlderNamesOfHeads(t *testing.T) {
	m := modeltest.Open(t, "encoders/bert")
	want := adaptertest.Load(t, m, changed(t, "heads/bert/text", nil, nil))
	for _, wrapper := range []string{".modules_to_save.default", ".modules_to_save"} {
		dir := changed(t, "heads/bert/text", nil, func(tensors map[string]safetensors.Tensor) {
			for _, kind := range []string{".weight", ".bias"} {
				tensors[classifier+wrapper+kind], tensors[classifier+".original_module"+kind] = tensors[classifier+kind], tensors[classifier+kind]
				delete(tensors, classifier+kind)
			}
		})
		got := adaptertest.Load(t, m, dir)
		if got.Digest() != want.Digest() || got.Bytes() != want.Bytes() {
			t.Errorf("%s: digest %s, %d bytes, want %s, %d", wrapper, got.Digest(), got.Bytes(), want.Digest(), want.Bytes())
		}
	}
}

// TestClassesOfAnAdapter: names and problem_type come from a config.json beside it,
// and are part of its digest.
func TestClassesOfAnAdapter(t *testing.T) {
	m := modeltest.Open(t, "encoders/bert")
	plain := adaptertest.Load(t, m, modeltest.Goldens(t, "heads/bert/text"))
	if got := plain.Classes(); !slices.Equal(got.Names, []string{"LABEL_0", "LABEL_1", "LABEL_2"}) {
		t.Errorf("classes without names are %+v", got)
	}
	digests := map[string]bool{plain.Digest(): true}
	for _, c := range []struct {
		config string
		names  []string
		kind   models.Problem
		fault  string
	}{
		{`{"id2label":{"0":"a","1":"b","2":"c"}}`, []string{"a", "b", "c"}, "", ""},
		{`{"id2label":{"0":"a","1":"b","2":"d"},"problem_type":null}`, []string{"a", "b", "d"}, "", ""},
		{`{"problem_type":"multi_label_classification","hidden_size":9}`, plain.Classes().Names, models.MultiLabel, ""},
		{`{"id2label":{"0":"a","1":"b"}}`, nil, "", "names 2 classes (id2label), and base_model.model.classifier.weight has 3 rows"},
		{`{"id2label":["a"]}`, nil, "", "config.json"},
		{`{"id2label":{"0":"a","1":"b","two":"c"}}`, nil, "", `names "two"`},
		{`{"id2label":{}}`, nil, "", "id2label names 0 classes, outside 1 to 65536"},
		{`{"id2label":{"0":"a","1":"b","2":"` + strings.Repeat("c", 257) + `"}}`, nil, "", "the name of class 2"},
		{`{"num_labels":3,"_num_labels":2}`, nil, "", "_num_labels is 2, and num_labels is 3"},
		{`{"_num_labels":0}`, nil, "", "_num_labels is 0, outside 1 to 65536"},
		{`{"adapterhub_head":{"layers":17,"bias":true}}`, nil, "", "adapterhub_head: a head has 17 layers"},
		{`{"adapterhub_head":{"layers":2,"activation_function":"sorcery","bias":true}}`, nil, "", `activation_function "sorcery"`},
		{`{"adapterhub_head":{"layers":"two"}}`, nil, "", "config.json"},
		{`{`, nil, "", "config.json"},
	} {
		dir := changed(t, "heads/bert/text", nil, nil)
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(c.config), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := adapters.Open(dir)
		var a *adapters.Adapter
		if err == nil {
			a, err = adapters.Load(m, f)
		}
		switch {
		case c.fault != "":
			if !errors.Is(err, adapters.ErrConfig) || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %s", c.config, err, c.fault)
			}
		case err != nil:
			t.Errorf("%s: %v", c.config, err)
		case !slices.Equal(a.Classes().Names, c.names) || a.Classes().Problem != c.kind || digests[a.Digest()]:
			t.Errorf("%s: %+v, digest %s", c.config, a.Classes(), a.Digest())
		default:
			digests[a.Digest()] = true
		}
	}
}

// TestClassesThatWereLeft: an adapter without names that is saved over one with names
// does not get them, and a config.json of another kind stays.
func TestClassesThatWereLeft(t *testing.T) {
	plain := adaptertest.Open(t, modeltest.Goldens(t, "heads/bert/text"))
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	for config, fault := range map[string]bool{
		`{"id2label":{"0":"a","1":"b","2":"c"},"label2id":{"a":0,"b":1,"c":2}}`: false,
		`{"problem_type":"regression"}`:                                         false,
		`{"hidden_size":9}`:                                                     false,
		`{"hidden_size":9,"id2label":{"0":"a","1":"b","2":"c"}}`:                true,
	} {
		if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		err := plain.Save(dir)
		if _, there := os.Stat(path); errors.Is(err, adapters.ErrConfig) != fault || (there == nil) != strings.Contains(config, "hidden_size") {
			t.Errorf("%s: %v, %v", config, err, there)
		}
		if err == nil && adaptertest.Open(t, dir).Digest() != plain.Digest() {
			t.Errorf("%s: another digest", config)
		}
	}
}

// TestHeadsThatDoNotFit: what is wrong with an adapter's head is named.
func TestHeadsThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		base, name string
		config     map[string]any
		tensors    func(map[string]safetensors.Tensor)
		kind       error
		want       string
	}{
		{"encoders/bert", "heads/bert/text", nil, renamed(classifier+".bias", ""), adapters.ErrTensor, "missing: base_model.model.classifier.bias"},
		{"encoders/bert", "heads/bert/text", nil, rows(models.MaxClasses + 1), adapters.ErrTensor, "classifier.weight has 65537 rows: a head tells at most 65536 classes apart"},
		{"encoders/bert", "heads/bert/text", nil, renamed(classifier+".weight", ""), adapters.ErrTensor, "classifier.weight"},
		{"encoders/bert", "heads/bert/text", nil, func(m map[string]safetensors.Tensor) { m[classifier+".weight"] = m[classifier+".bias"] }, adapters.ErrBase, "classifier.weight has shape [3]"},
		{"encoders/bert", "heads/bert/text", map[string]any{"task_type": "FEATURE_EXTRACTION"}, nil, adapters.ErrTarget, `modules_to_save names "classifier"`},
		{"encoders/bert", "heads/bert/text", map[string]any{"task_type": nil}, nil, adapters.ErrTarget, `modules_to_save names "classifier"`},
		{"encoders/bert-masked", "heads/bert-classifier/text", nil, nil, models.ErrTask, "the head of BertForSequenceClassification stands on a pooler"},
		{"encoders/roberta", "heads/roberta/all-linear", map[string]any{"modules_to_save": []string{"out_proj"}}, renamed(classifier+".dense.weight", "", classifier+".dense.bias", ""), adapters.ErrTarget, `not "classifier.dense"`},
		{"encoders/roberta", "heads/roberta/tokens", nil, renamed("base_model.model.classifier.weight", "base_model.model.score.weight"), adapters.ErrTensor, "missing: base_model.model.classifier.weight"},
		{"gemma3", "heads/gemma3/text", map[string]any{"task_type": "TOKEN_CLS"}, nil, models.ErrTask, "classifies tokens"},
		{"llama-gqa", "heads/llama-gqa/text", map[string]any{"task_type": "CAUSAL_LM"}, nil, adapters.ErrTarget, `modules_to_save names "classifier"`},
		{"llama-gqa", "heads/llama-gqa/text", map[string]any{"task_type": "QUESTION_ANS"}, nil, adapters.ErrBase, "task_type is QUESTION_ANS"},
	} {
		m := modeltest.Open(t, c.base)
		f, err := adapters.Open(changed(t, c.name, c.config, c.tensors))
		if err == nil {
			_, err = adapters.Load(m, f)
		}
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %s", c.name, c.config, err, c.want)
		}
	}
}

// TestHeadsCannotBeCombined: what two heads say together is no sum.
func TestHeadsCannotBeCombined(t *testing.T) {
	m := modeltest.Open(t, "encoders/bert")
	a := adaptertest.Load(t, m, modeltest.Goldens(t, "heads/bert/text"))
	_, err := adapters.Compose(m, []adapters.Part{{Name: "a", Adapter: a, Weight: 1}, {Name: "b", Adapter: a, Weight: 0.5}})
	if !errors.Is(err, adapters.ErrCompose) || !strings.Contains(err.Error(), "has a head of its own") {
		t.Error(err)
	}
}

// TestNewHead: an adapter that is to be trained begins with a head of as many classes
// as are named, drawn as transformers draws it, and recording gives the bits of
// serving.
func TestNewHead(t *testing.T) {
	for _, c := range []struct{ base, config string }{
		{"encoders/roberta", `{"peft_type":"LORA","task_type":"SEQ_CLS","r":2,"target_modules":["query"],"modules_to_save":["classifier","score"]}`},
		{"encoders/bert", `{"peft_type":"LORA","task_type":"TOKEN_CLS","r":2,"target_modules":["query"],"modules_to_save":["classifier","score"]}`},
		{"encoders/bert-classifier", `{"peft_type":"BITFIT","task_type":"SEQ_CLS","modules_to_save":["classifier","score"]}`},
		{"llama-gqa", `{"peft_type":"LORA","task_type":"SEQ_CLS","r":2,"target_modules":["q_proj"],"modules_to_save":["classifier","score"]}`},
	} {
		t.Run(c.base, func(t *testing.T) {
			m := modeltest.Open(t, c.base)
			config, err := adapters.ParseConfig([]byte(c.config))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := adapters.Layout(m, config); m.Config().Classes == nil && !errors.Is(err, adapters.ErrConfig) {
				t.Errorf("nobody says how many classes there are: %v", err)
			}
			config.Classes = &models.Classes{Names: []string{"no", "yes", "perhaps", "never"}}
			a, err := adapters.New(m, config)
			if err == nil {
				err = adapters.Start(a, "", 7)
			}
			if err != nil {
				t.Fatal(err)
			}
			task := models.Task(config.Task)
			if own := a.Classes(); own.Task != task || !slices.Equal(own.Names, config.Classes.Names) {
				t.Fatalf("%+v", own)
			}
			drawn := 0
			for _, p := range a.Params() {
				if strings.HasSuffix(p.Name, "classifier.weight") || strings.HasSuffix(p.Name, "out_proj.weight") || strings.HasSuffix(p.Name, "score.weight") {
					drawn++
					if p.Shape[0] != 4 || p.Values().Row(3)[0] == 0 || p.Values().Row(3)[0] > 0.2 {
						t.Errorf("%s %v begins as %v", p.Name, p.Shape, p.Values().Row(3)[:3])
					}
				}
			}
			if drawn != 1 {
				t.Fatalf("%d linears make scores", drawn)
			}
			text := modeltest.Text{Tokens: []int32{11, 12, 13, 14, 15}, Adapter: a}
			pass := models.NewPass(modeltest.Pool(t, 1))
			want := modeltest.Classify(t, m, pass, task, []int{4}, text)[0]
			text.Adapter = adapters.Train(a, m, adapters.Training{})
			pass.Record()
			got := modeltest.Classify(t, m, pass, task, []int{4}, text)[0]
			if d := modeltest.MaxDifference(got, want); d != 0 {
				t.Errorf("a recorded score is off by %g", d)
			}
			pass.Discard()
		})
	}
}
