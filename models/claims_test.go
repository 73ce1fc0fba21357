package models

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

const goldens = "../testdata/goldens"

// folderWith is a golden base with other keys and with tensors added, or left
// out where they are nil.
func folderWith(t *testing.T, base, changes string, tensors map[string]*safetensors.Tensor) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), changed(t, base, changes), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.OpenFolder(filepath.Join(goldens, base))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []safetensors.Tensor
	for tensor := range f.All() {
		if _, other := tensors[tensor.Name]; !other {
			all = append(all, tensor)
		}
	}
	for name, tensor := range tensors {
		if tensor != nil {
			copied := *tensor
			copied.Name = name
			all = append(all, copied)
		}
	}
	if err := safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), all, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTensorsOfFolders: each tensor is read, known to have no effect, or named
// in a refusal.
func TestTensorsOfFolders(t *testing.T) {
	f, err := safetensors.OpenFolder(filepath.Join(goldens, "llama-gqa"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	embedding, _ := f.Lookup("model.embed_tokens.weight")
	norm, _ := f.Lookup("model.norm.weight")
	other := norm
	values := func(n int) *safetensors.Tensor {
		v := safetensors.FromFloat32s("", []int{n}, make([]float32, n))
		return &v
	}
	swapped := embedding
	swapped.Data = append(append([]byte{}, embedding.Data[4:]...), embedding.Data[:4]...)
	type tensors = map[string]*safetensors.Tensor
	for _, c := range []struct {
		base, changes string
		tensors       tensors
		want          string // empty: taken
	}{
		{"llama-gqa", `{}`, tensors{"model.layers.0.self_attn.q_proj.bias": values(32)}, `does not read the tensors "model.layers.0.self_attn.q_proj.bias"`},
		{"llama-gqa", `{}`, tensors{"a": &other, "b": &other, "c": &other, "d": &other, "e": &other}, `"a", "b", "c", "d" and 1 more`},
		{"llama-gqa", `{}`, tensors{"model.layers.3.input_layernorm.weight": &other}, `"model.layers.3.input_layernorm.weight"`},
		{"llama-gqa", `{}`, tensors{"model.layers.0.self_attn.q_norm.weight": values(8)}, `q_norm`},
		{"llama-gqa", `{"attention_bias": true}`, nil, `"model.layers.0.self_attn.q_proj.bias"`},
		{"llama-gqa", `{"mlp_bias": true}`, nil, `"model.layers.0.mlp.gate_proj.bias"`},
		{"llama-gqa", `{}`, tensors{"lm_head.weight": &swapped}, `tensor "lm_head.weight" is not the input embedding`},
		{"llama-gqa", `{}`, tensors{"lm_head.weight": &embedding}, ""},
		{"llama-gqa", `{}`, tensors{"model.layers.0.self_attn.rotary_emb.inv_freq": values(4), "model.rotary_emb.inv_freq": values(4)}, ""},
		{"qwen2", `{}`, tensors{"model.layers.0.self_attn.q_proj.bias": nil}, `"model.layers.0.self_attn.q_proj.bias"`},
		{"qwen2", `{}`, tensors{"model.layers.0.self_attn.o_proj.bias": values(32)}, `o_proj.bias`},
		{"qwen3", `{}`, tensors{"model.layers.1.self_attn.k_norm.weight": nil}, `k_norm`},
		{"gpt2", `{}`, tensors{"transformer.h.0.attn.bias": values(4), "h.1.attn.masked_bias": values(1)}, ""},
		{"gpt2", `{}`, tensors{"transformer.h.0.mlp.c_fc.bias": nil}, `c_fc.bias`},
		{"gpt2", `{}`, tensors{"v_head.summary.weight": values(4)}, `"v_head.summary.weight"`},
	} {
		_, s, err := Open(folderWith(t, c.base, c.changes, c.tensors), Options{})
		if err == nil {
			_ = s.Close()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s with %s: %v, want %q", c.base, c.changes, err, c.want)
		}
	}
}

// fileWith is a converted base with other metadata, or without a key where it is
// nil, and with float tensors added.
func fileWith(t *testing.T, name string, metadata map[string]any, tensors map[string][]float32) string {
	t.Helper()
	path := filepath.Join(goldens, "converted", name, "model.gguf")
	if filepath.Ext(name) == ".gguf" {
		path = filepath.Join(goldens, name)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := gguf.NewWriter("")
	for _, key := range f.Keys() {
		if _, other := metadata[key]; !other {
			w.Copy(f, key)
		}
	}
	for key, v := range metadata {
		if v != nil {
			w.Set(key, v)
		}
	}
	for _, tensor := range f.Tensors() {
		if _, other := tensors[tensor.Name]; !other {
			w.Add(tensor.Name, tensor.Type, tensor.Dims, tensor.Data)
		}
	}
	for name, v := range tensors {
		w.Add(name, gguf.TypeF32, []int{len(v)}, safetensors.FromFloat32s(name, []int{len(v)}, v).Data)
	}
	path = filepath.Join(t.TempDir(), "model.gguf")
	if err := w.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMetadata: each key and tensor of a GGUF is read, known to have no effect,
// or named in a refusal.
func TestMetadata(t *testing.T) {
	type metadata = map[string]any
	type tensors = map[string][]float32
	const (
		bert   = "sentences/mean/f32.gguf"
		modern = "encoders-gguf/modern-bert/model.gguf"
		nomic  = "encoders-gguf/nomic-bert/model.gguf"
	)
	for _, c := range []struct {
		name     string
		metadata metadata
		tensors  tensors
		want     string // empty: taken
	}{
		{"llama", metadata{"llama.sorcery": 3}, nil, "llama.sorcery is not known to peft-serve and may change the results; if it does not, start with --ignore-config-key llama.sorcery"},
		{"llama", metadata{"llama.expert_count": uint32(8)}, nil, "llama.expert_count is 8"},
		{"llama", metadata{"llama.attention.causal": false}, nil, "llama.attention.causal is false"},
		{"llama", metadata{"llama.logit_scale": float32(0.5)}, nil, "llama.logit_scale is 0.5"},
		{"llama", metadata{"llama.rope.dimension_count": uint32(8)}, nil, "llama.rope.dimension_count is 8 of heads of 16"},
		{"llama", metadata{"llama.attention.value_length": uint32(8)}, nil, "llama.attention.value_length is 8"},
		{"llama", metadata{"llama.attention.head_count_kv": []int32{1, 2}}, nil, "not the same for each layer"},
		{"llama", metadata{"llama.attention.head_count_kv": []int32{1, 1}}, nil, ""},
		{"llama", metadata{"llama.block_count": "two"}, nil, "llama.block_count is two, not a number"},
		{"llama", metadata{"llama.vocab_size": uint32(41)}, nil, "llama.vocab_size is 41"},
		{"llama", metadata{"llama.rope.scaling.type": "longrope"}, nil, `"longrope" is not implemented`},
		{"llama", metadata{"llama.rope.scaling.type": 1}, nil, "llama.rope.scaling.type is 1, not a text"},
		{"llama-yarn", metadata{"llama.rope.scaling.yarn_log_multiplier": float32(0.1)}, nil, "yarn_log_multiplier is 0.1"},
		{"llama-yarn", metadata{"llama.rope.scaling.yarn_ext_factor": float32(0.5)}, nil, "yarn_ext_factor is 0.5"},
		{"llama-yarn", metadata{"llama.rope.scaling.attn_factor": float32(2)}, nil, "rope.scaling.attn_factor is 2"},
		{"llama-yarn", metadata{"llama.rope.scaling.factor": nil}, nil, "factor is 0"},
		{"llama-linear", metadata{"llama.rope.scaling.yarn_attn_factor": float32(2)}, nil, "yarn_attn_factor is 2 without"},
		{"llama", metadata{
			"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": float32(0), "llama.rope.scaling.yarn_ext_factor": float32(-1), "llama.expert_count": uint32(0),
			"llama.tensor_data_layout": "Meta AI original pth", "general.sorcery": 3, "mradermacher.quantized_by": "x", "llama.rope.scaling.finetuned": true,
		}, nil, ""},
		{"llama", nil, tensors{"blk.0.attn_q.scale": {1}}, `does not read the tensors "blk.0.attn_q.scale"`},
		{"llama", nil, tensors{"rope_factors_long.weight": {1, 1, 1, 1, 1, 1, 1, 1}}, `"rope_factors_long.weight"`},
		{"llama", nil, tensors{"rope_freqs.weight": {1, 1}}, `"rope_freqs.weight" has 2 factors for 8 frequencies`},
		{"llama", nil, tensors{"rope_freqs.weight": {1, 1, 1, 1, 1, 1, 1, 0}}, `"rope_freqs.weight" has a factor of 0`},
		{"llama", nil, tensors{"blk.0.attn_rot_embd.weight": {1}}, ""},
		{"qwen2", nil, tensors{"blk.0.attn_output.bias": make([]float32, 16)}, `"blk.0.attn_output.bias"`},
		{"gpt2", metadata{"gpt2.rope.freq_base": float32(1)}, nil, "gpt2.rope.freq_base is not known"},
		{bert, nil, nil, ""},
		{bert, metadata{"bert.attention.causal": true}, nil, "bert.attention.causal is true: every token of a text sees all of it"},
		{bert, metadata{"bert.attention.head_count_kv": uint32(1)}, nil, "bert.attention.head_count_kv is 1, and there are 2 heads"},
		{bert, metadata{"bert.attention.layer_norm_epsilon": nil}, nil, "bert.attention.layer_norm_epsilon is missing"},
		{bert, metadata{"bert.rope.freq_base": float32(1)}, nil, "bert.rope.freq_base is not known"},
		{bert, metadata{"bert.classifier.output_labels": []string{"a"}}, nil, "bert.classifier.output_labels"},
		{bert, nil, tensors{"cls.output.weight": make([]float32, 32)}, `tensor "cls.output.weight" is of a head, which is not read from a GGUF file`},
		{bert, nil, tensors{"token_types.weight": make([]float32, 32)}, ""},
		{bert, nil, tensors{"token_types.weight": make([]float32, 16)}, `tensor "bert.embeddings.token_type_embeddings.weight"`},
		{bert, nil, tensors{"blk.0.ffn_gate.weight": {1}}, `does not read the tensors "blk.0.ffn_gate.weight"`},
		{modern, nil, nil, ""},
		{modern, metadata{"modern-bert.attention.layer_norm_rms_epsilon": nil}, nil, "modern-bert.attention.layer_norm_rms_epsilon is missing"},
		{modern, metadata{"modern-bert.attention.sliding_window": nil}, nil, "modern-bert.attention.sliding_window is missing"},
		{modern, metadata{"modern-bert.attention.sliding_window_pattern": uint32(0)}, nil, "global_attn_every_n_layers is 0"},
		{modern, metadata{"modern-bert.attention.sliding_window_pattern": []int32{1, 0, 1}}, nil, "not the same for each layer"},
		{modern, metadata{"modern-bert.attention.causal": true}, nil, "every token of a text sees all of it"},
		{modern, metadata{"modern-bert.rope.freq_base": nil}, nil, "modern-bert.rope.freq_base is missing"},
		{modern, metadata{"modern-bert.rope.freq_base_swa": nil}, nil, ""},
		{modern, metadata{"modern-bert.rope.scaling.type": "yarn", "modern-bert.rope.scaling.factor": float32(4)}, nil, `rope_scaling of type "yarn" is not implemented`},
		{modern, metadata{"modern-bert.hidden_activation": "sorcery"}, nil, `hidden_activation "sorcery" is not implemented`},
		{modern, metadata{"modern-bert.hidden_activation": 3}, nil, "modern-bert.hidden_activation is 3, not a text"},
		{modern, metadata{"modern-bert.classifier.output_labels": []string{"a"}}, nil, "modern-bert.classifier.output_labels"},
		{modern, nil, tensors{"cls.norm.weight": make([]float32, 8)}, `tensor "cls.norm.weight" is of a head, which is not read from a GGUF file`},
		{modern, nil, tensors{"blk.0.attn_norm.weight": make([]float32, 8)}, `does not read the tensors "blk.0.attn_norm.weight"`},
		{modern, nil, tensors{"blk.1.attn_qkv.bias": make([]float32, 24)}, `no such tensor: "blk.0.attn_qkv.bias"`},
		{nomic, nil, nil, ""},
		{nomic, metadata{"nomic-bert.attention.layer_norm_epsilon": nil}, nil, "nomic-bert.attention.layer_norm_epsilon is missing"},
		{nomic, metadata{"nomic-bert.rope.freq_base": nil}, nil, "nomic-bert.rope.freq_base is missing"},
		{nomic, metadata{"nomic-bert.rope.scaling.type": "linear", "nomic-bert.rope.scaling.factor": float32(4)}, nil, `rope_parameters of type "linear" is not implemented`},
		{nomic, metadata{"nomic-bert.attention.head_count_kv": uint32(1)}, nil, "nomic-bert.attention.head_count_kv is 1, and there are 2 heads"},
		{nomic, metadata{"nomic-bert.moe_every_n_layers": uint32(2)}, nil, "nomic-bert.moe_every_n_layers is 2"},
		{nomic, metadata{"general.architecture": "nomic-bert-moe"}, nil, `"nomic-bert-moe"`},
		{nomic, nil, tensors{"token_types.weight": make([]float32, 8)}, ""},
		{nomic, nil, tensors{"position_embd.weight": make([]float32, 8)}, `does not read the tensors "position_embd.weight"`},
	} {
		_, s, err := Open(fileWith(t, c.name, c.metadata, c.tensors), Options{})
		if err == nil {
			_ = s.Close()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s with %v %v: %v, want %q", c.name, c.metadata, c.tensors, err, c.want)
		}
	}
	_, s, err := Open(fileWith(t, "llama", metadata{"llama.sorcery": 3}, nil), Options{IgnoreConfigKeys: []string{"llama.sorcery"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "llama.sorcery") {
		t.Errorf("warnings %q", s.Warnings)
	}
}

// TestOldLinearScaling: a factor without a type, by either name, scales as the
// folder's linear scaling does.
func TestOldLinearScaling(t *testing.T) {
	for _, key := range []string{"llama.rope.scale_linear", "llama.rope.scaling.factor"} {
		s, err := OpenSource(fileWith(t, "llama", map[string]any{key: float32(4)}, nil), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if c, err := readLlama(s); err != nil || c.RopeScaling.kind() != "linear" || c.RopeScaling.Factor != 4 {
			t.Errorf("%s: %+v (%v)", key, c.RopeScaling, err)
		}
	}
}

// TestFolderOfFactors: a folder from a GGUF with rope_freqs says the scaling
// that the converter read, or is refused.
func TestFolderOfFactors(t *testing.T) {
	s, err := OpenSource(filepath.Join(goldens, "converted/llama-llama3/model.gguf"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var config struct {
		Scaling map[string]any `json:"rope_scaling"`
	}
	if b, err := s.FolderConfig(); err != nil || json.Unmarshal(b, &config) != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32.0,
	} {
		if config.Scaling[key] != want {
			t.Errorf("%s is %v, want %v", key, config.Scaling[key], want)
		}
	}
	for _, tensors := range []map[string][]float32{
		{"rope_freqs.weight": {1, 3, 2, 1, 1, 5, 1, 1}},
		{"rope_freqs.weight": {2, 2, 2, 2, 2, 2, 2, 2}},
	} {
		s, err := OpenSource(fileWith(t, "llama", nil, tensors), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.FolderConfig(); err == nil || !strings.Contains(err.Error(), "rope_freqs.weight") {
			t.Errorf("%v: %v", tensors, err)
		}
	}
}

// TestPublishedFactors: the scalings of Llama 3.1 and 3.2, and others, are found
// in their factors.
func TestPublishedFactors(t *testing.T) {
	for _, c := range []struct {
		dim                         int
		theta, factor, high, length float64
	}{
		{128, 500000, 8, 4, 8192}, {64, 500000, 32, 4, 8192}, {128, 500000, 32, 4, 8192}, {64, 100000, 8, 4, 512},
		{64, 10000, 2.5, 8, 1000}, {16, 10000, 16, 4, 64},
	} {
		want := ropeConfig{Factor: c.factor, LowFreqFactor: 1, HighFreqFactor: c.high, Original: c.length}
		plain := plainFrequencies(c.dim, c.theta)
		scaled := plainFrequencies(c.dim, c.theta)
		llama3Frequencies(scaled, &want)
		factors := make([]float64, len(plain))
		for i := range factors {
			factors[i] = float64(float32(plain[i] / scaled[i]))
		}
		got := llama3Of(factors, c.dim, c.theta, 131072)
		if got == nil || math.Abs(got.Factor-want.Factor) > 1e-9 || !gives(got, factors, plain) {
			t.Errorf("%+v: found %+v", c, got)
		}
	}
}
