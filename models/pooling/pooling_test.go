package pooling

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const goldens = "../../testdata/goldens/sentences"

// TestPool holds every mode, and several at once, against sentence-transformers.
func TestPool(t *testing.T) {
	var golden struct {
		Rows  [][]float32
		Cases []struct {
			Modes        []string
			Rows, Passed int
			Want         []float64
		}
	}
	b, err := os.ReadFile(filepath.Join(goldens, "pooling.json"))
	if err == nil {
		err = json.Unmarshal(b, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range golden.Cases {
		modes, err := Parse(strings.Join(c.Modes, ","))
		if err != nil {
			t.Fatal(err)
		}
		p := New(modes, len(golden.Rows[0]), c.Passed)
		for _, row := range golden.Rows[c.Passed:c.Rows] {
			p.Add(row)
		}
		got := make([]float32, p.Width())
		p.Write(got)
		if len(got) != len(c.Want) {
			t.Fatalf("%v: %d values, want %d", c.Modes, len(got), len(c.Want))
		}
		for i, want := range c.Want {
			if !(math.Abs(float64(got[i])-want) <= 1e-6) {
				t.Errorf("%v of %d rows, %d passed over: value %d is %g, want %g", c.Modes, c.Rows, c.Passed, i, got[i], want)
			}
		}
	}
}

// folder copies the golden folder's small files, some of them changed: "" takes one away.
func folder(t *testing.T, changes map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "tokenizer_config.json",
		"1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "3_Normalize/config.json",
	} {
		b, err := os.ReadFile(filepath.Join(goldens, "tiny", name))
		if err != nil {
			t.Fatal(err)
		}
		text, changed := changes[name]
		if changed {
			b = []byte(text)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if changed && text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func modulesOf(kinds ...string) string {
	var list []map[string]any
	for i, kind := range kinds {
		path := map[string]string{"Pooling": "1_Pooling", "Dense": "2_Dense", "Normalize": "3_Normalize"}[kind]
		list = append(list, map[string]any{"idx": i, "name": "n", "path": path, "type": "sentence_transformers.models." + kind})
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestLoad reads the files of every version of sentence-transformers.
func TestLoad(t *testing.T) {
	older := map[string]string{
		"modules.json":                      modulesOf("Transformer", "Pooling"),
		"1_Pooling/config.json":             `{"word_embedding_dimension":12,"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":true,"pooling_mode_max_tokens":false,"pooling_mode_mean_sqrt_len_tokens":false}`,
		"sentence_bert_config.json":         `{"max_seq_length":9,"do_lower_case":true}`,
		"config_sentence_transformers.json": "",
	}
	r, err := Load(folder(t, older))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Modes) != 2 || r.Modes[0] != First || r.Modes[1] != Mean || r.Normalize || !r.Lower || r.MaxTokens != 9 || r.Similarity != "cosine" || r.Width(12) != 24 {
		t.Errorf("%+v", r)
	}
	if r, err = Load(folder(t, nil)); err != nil {
		t.Fatal(err)
	}
	if len(r.Modes) != 2 || r.Modes[0] != WeightedMean || r.Modes[1] != Max || !r.Normalize || r.Lower || r.MaxTokens != 20 || r.Similarity != "dot" ||
		r.Width(12) != 5 || r.Prompt != "document" || !r.WithoutPrompt || r.Prompts["query"] != "search : " || r.Check(12) != nil || !errors.Is(r.Check(13), ErrRecipe) {
		t.Errorf("%+v", r)
	}
	for _, key := range []string{"word_embedding_dimension", "embedding_dimension"} {
		r, err := Load(folder(t, map[string]string{"modules.json": modulesOf("Transformer", "Pooling"), "1_Pooling/config.json": `{"` + key + `":12}`}))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(13); r.Check(12) != nil || !errors.Is(err, ErrRecipe) || !strings.Contains(err.Error(), key+" is 12, and the base's hidden states have 13 values") {
			t.Errorf("%s: %v, %v", key, err, r.Check(12))
		}
	}
	if r, err := Load(t.TempDir()); r != nil || err != nil {
		t.Errorf("a folder without modules.json: %+v, %v", r, err)
	}
}

// TestLoadRefuses names the file and what of it is not implemented.
func TestLoadRefuses(t *testing.T) {
	for want, changes := range map[string]map[string]string{
		"module \"n\" of type sentence_transformers.models.WordWeights is not implemented": {"modules.json": modulesOf("Transformer", "WordWeights", "Pooling")},
		"Normalize stands where it is not implemented":                                     {"modules.json": modulesOf("Transformer", "Normalize", "Pooling")},
		"there is no module Pooling":                                                       {"modules.json": modulesOf("Transformer")},
		"Dense stands where":                                                               {"modules.json": modulesOf("Transformer", "Dense")},
		"Transformer stands where":                                                         {"modules.json": modulesOf("Transformer", "Transformer", "Pooling")},
		"leads out of the folder":                                                          {"modules.json": strings.Replace(modulesOf("Transformer", "Pooling"), "1_Pooling", "../x", 1)},
		"custom_st.Transformer is not implemented":                                         {"modules.json": strings.ReplaceAll(modulesOf("Transformer"), "sentence_transformers.models", "custom_st")},
		`kwargs of module "n"`:                                                             {"modules.json": strings.Replace(modulesOf("Transformer", "Pooling"), `"name"`, `"kwargs":["task"],"name"`, 1)},
		`model_type "SparseEncoder"`:                                                       {"config_sentence_transformers.json": `{"model_type":"SparseEncoder"}`},
		"word_embedding_dimension is 0":                                                    {"1_Pooling/config.json": `{"word_embedding_dimension":0}`},
		"embedding_dimension is 13, and word_embedding_dimension is 12":                    {"1_Pooling/config.json": `{"word_embedding_dimension":12,"embedding_dimension":13}`},
		"unknown field":                                                                    {"1_Pooling/config.json": `{"pooling_mode":"mean","pooling_mode_sum_tokens":true}`},
		`"sum" is none of`:                                                                 {"1_Pooling/config.json": `{"pooling_mode":["mean","sum"]}`},
		"mean is named twice":                                                              {"1_Pooling/config.json": `{"pooling_mode":["mean","mean"]}`},
		"different modes":                                                                  {"1_Pooling/config.json": `{"pooling_mode":"mean","pooling_mode_cls_token":true}`},
		"max_seq_length is 0":                                                              {"sentence_bert_config.json": `{"max_seq_length":0}`},
		"transformer_task":                                                                 {"sentence_bert_config.json": `{"transformer_task":"fill-mask"}`},
		"modality_config":                                                                  {"sentence_bert_config.json": `{"modality_config":{"image":{"method":"forward","method_output_name":"x"}}}`},
		"processing_kwargs":                                                                {"sentence_bert_config.json": `{"processing_kwargs":{"text":{"padding":true}}}`},
		`default_prompt_name "x" is none of prompts: a`:                                    {"config_sentence_transformers.json": `{"prompts":{"a":"b"},"default_prompt_name":"x"}`},
		"similarity_fn_name":                                                               {"config_sentence_transformers.json": `{"similarity_fn_name":"hamming"}`},
		"truncate_dim":                                                                     {"config_sentence_transformers.json": `{"truncate_dim":3}`},
		"torch.nn.modules.activation.PReLU":                                                {"2_Dense/config.json": `{"in_features":24,"out_features":5,"activation_function":"torch.nn.modules.activation.PReLU"}`},
		"linear.weight has the shape [5 24], and [4 24] is wanted":                         {"2_Dense/config.json": `{"in_features":24,"out_features":4}`},
		"use_residual":                                                                     {"2_Dense/config.json": `{"in_features":24,"out_features":5,"use_residual":true}`},
		"in_features and out_features are 0":                                               {"2_Dense/config.json": `{"out_features":5}`},
		"model.safetensors":                                                                {"2_Dense/model.safetensors": ""},
		`module_input_name "token_embeddings"`:                                             {"3_Normalize/config.json": `{"module_input_name":"token_embeddings"}`},
		"1_Pooling":                                                                        {"1_Pooling/config.json": ""},
	} {
		_, err := Load(folder(t, changes))
		if !errors.Is(err, ErrRecipe) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestCompare: near is large, by every measure.
func TestCompare(t *testing.T) {
	for name, want := range map[string]float64{"cosine": 0.96, "dot": 24, "euclidean": -math.Sqrt2, "manhattan": -2} {
		r := Recipe{Similarity: name}
		if got := r.Compare([]float32{3, 4}, []float32{4, 3}); !(math.Abs(got-want) < 1e-12) {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	zeros := []float32{0, 0}
	if Normalize(zeros); zeros[0] != 0 || Cosine(zeros, zeros) != 0 {
		t.Error("zeros have no direction")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(`[{"idx":0,"path":"","type":"sentence_transformers.models.Transformer"},{"idx":1,"path":"1_Pooling","type":"sentence_transformers.models.Pooling"}]`, `{"pooling_mode":["cls"]}`, `{"max_seq_length":3}`)
	f.Add(`[]`, `{}`, `{}`)
	f.Fuzz(func(t *testing.T, modules, pooling, transformer string) {
		dir := t.TempDir()
		if os.MkdirAll(filepath.Join(dir, "1_Pooling"), 0o755) != nil ||
			os.WriteFile(filepath.Join(dir, "modules.json"), []byte(modules), 0o644) != nil ||
			os.WriteFile(filepath.Join(dir, "1_Pooling", "config.json"), []byte(pooling), 0o644) != nil ||
			os.WriteFile(filepath.Join(dir, "sentence_bert_config.json"), []byte(transformer), 0o644) != nil {
			t.Skip()
		}
		r, err := Load(dir)
		if err == nil && (len(r.Modes) == 0 || r.MaxTokens < 0) {
			t.Errorf("%+v", r)
		}
	})
}

// metadata is that of a GGUF file.
type metadata map[string]any

func (m metadata) String(key string) (string, bool) { v, ok := m[key].(string); return v, ok }
func (m metadata) Int(key string) (int, bool)       { v, ok := m[key].(int); return v, ok }

// TestFromGGUF: the file's own key says how rows are pooled, or that they are not.
func TestFromGGUF(t *testing.T) {
	for kind, want := range map[int]Mode{1: Mean, 2: First, 3: Last} {
		r, err := FromGGUF(metadata{"general.architecture": "bert", "bert.pooling_type": kind})
		if err != nil || len(r.Modes) != 1 || r.Modes[0] != want || !r.Normalize || r.Similarity != "cosine" {
			t.Errorf("%d: %+v, %v", kind, r, err)
		}
	}
	for _, m := range []metadata{{"general.architecture": "bert"}, {"general.architecture": "bert", "bert.pooling_type": 0}, {"general.architecture": "bert", "llama.pooling_type": 1}} {
		if r, err := FromGGUF(m); r != nil || err != nil {
			t.Errorf("%v: %+v, %v", m, r, err)
		}
	}
	for _, kind := range []int{4, -1} {
		if _, err := FromGGUF(metadata{"general.architecture": "qwen3", "qwen3.pooling_type": kind}); !errors.Is(err, ErrRecipe) || !strings.Contains(err.Error(), "qwen3.pooling_type is ") {
			t.Errorf("%d: %v", kind, err)
		}
	}
}

// TestSave: what is saved beside a model is read again, of a folder with every module and
// of none.
func TestSave(t *testing.T) {
	for _, from := range []string{"", "gguf", folder(t, nil)} {
		r := Default(false)
		switch from {
		case "":
		case "gguf": // what FromGGUF makes
			r = &Recipe{Modes: []Mode{Last}, Normalize: true, Similarity: "cosine"}
		default:
			var err error
			if r, err = Load(from); err != nil {
				t.Fatal(err)
			}
		}
		dir := t.TempDir()
		for _, stale := range []string{promptsFile, transformerFile} { // of another model
			if err := os.WriteFile(filepath.Join(dir, stale), []byte(`{"prompts":{"q":"ask: "},"default_prompt_name":"q","max_seq_length":3}`), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Save(dir, 12); err != nil {
			t.Fatal(err)
		}
		again, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Check(12); err != nil {
			t.Error(err)
		}
		row := make([]float32, len(r.Modes)*12)
		for i := range row {
			row[i] = float32(i) - 3
		}
		want, got := r.Embedding(slices.Clone(row)), again.Embedding(slices.Clone(row))
		if !slices.Equal(want, got) || again.Prompt != r.Prompt || again.MaxTokens == 3 || again.WithoutPrompt != r.WithoutPrompt {
			t.Errorf("%+v has become %+v", r, again)
		}
	}
}
