package models

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// TestQwen3MoeConfigs: each key of a configuration is read, or what it says and
// this model does not do is refused by name.
func TestQwen3MoeConfigs(t *testing.T) {
	all := []int{0, 1, 2}
	for _, c := range []struct {
		changes, want string // what is refused; empty: taken
		sparse        []int  // the layers with experts
		experts       int
	}{
		{`{}`, "", []int{0, 2}, 5},
		{`{"mlp_only_layers": []}`, "", all, 5},
		{`{"mlp_only_layers": null}`, "", all, 5},
		{`{"mlp_only_layers": [], "decoder_sparse_step": 2}`, "", []int{1}, 5},
		{`{"decoder_sparse_step": 4}`, "", nil, 5},
		{`{"num_experts": 0, "num_experts_per_tok": 0}`, "", nil, 0},
		{`{"num_local_experts": 7, "num_experts": "none"}`, "", []int{0, 2}, 7}, // left out below
		{`{"num_local_experts": 5, "max_window_layers": 3, "router_aux_loss_coef": 0.1}`, "", []int{0, 2}, 5},
		{`{"num_local_experts": 4}`, "num_experts is 5 and num_local_experts 4", nil, 0},
		{`{"num_experts_per_tok": 6}`, "num_experts_per_tok is 6 of 5 experts", nil, 0},
		{`{"num_experts_per_tok": 0}`, "num_experts_per_tok is 0 of 5 experts", nil, 0},
		{`{"num_experts": -1}`, "num_experts is -1", nil, 0},
		{`{"num_experts": 16777216}`, "num_experts is 16777216", nil, 0},
		{`{"num_experts": 2.5}`, "num_experts", nil, 0},
		{`{"decoder_sparse_step": 0}`, "decoder_sparse_step is 0", nil, 0},
		{`{"moe_intermediate_size": 0}`, "moe_intermediate_size is 0", nil, 0},
		{`{"norm_topk_prob": null}`, "norm_topk_prob is null", nil, 0},
		{`{"output_router_logits": true}`, "output_router_logits is true", nil, 0},
		{`{"shared_expert_intermediate_size": 8}`, "shared_expert_intermediate_size is not known", nil, 0},
		{`{"n_shared_experts": 1}`, "n_shared_experts is not known", nil, 0},
		{`{"use_sliding_window": true, "sliding_window": 0}`, "sliding_window is 0", nil, 0},
		{`{"use_sliding_window": true, "max_window_layers": 2}`, "max_window_layers is 2", nil, 0},
		{`{"num_attention_heads": 3}`, "num_attention_heads 3 is no multiple", nil, 0},
		{`{"hidden_act": "relu2"}`, `hidden_act "relu2"`, nil, 0},
		{`{"rms_norm_eps": -1}`, "rms_norm_eps is -1", nil, 0},
		{`{"architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe"}`, "Qwen2MoeForCausalLM", nil, 0},
	} {
		s := &Source{Name: "base"}
		err := s.configure(bytes.Replace(changed(t, "qwen3moe", c.changes), []byte(`"num_experts":"none",`), nil, 1), Options{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.changes, err, c.want)
		}
		if err != nil {
			continue
		}
		got, err := readQwen3Moe(s)
		if err != nil {
			t.Fatal(err)
		}
		var sparse []int
		for i := range got.NumHiddenLayers {
			if got.sparse(i) {
				sparse = append(sparse, i)
			}
		}
		if !slices.Equal(sparse, c.sparse) || got.NumExperts != c.experts {
			t.Errorf("%s: %d experts in the layers %v, want %d in %v", c.changes, got.NumExperts, sparse, c.experts, c.sparse)
		}
	}
}

// TestQwen3MoeTensors: an expert too many, one that is missing, and experts in
// one tensor are refused by name.
func TestQwen3MoeTensors(t *testing.T) {
	type tensors = map[string]*safetensors.Tensor
	one := safetensors.FromFloat32s("", []int{1, 1, 1}, []float32{1})
	for _, c := range []struct {
		tensors tensors
		want    string
	}{
		{tensors{"model.layers.0.mlp.experts.5.up_proj.weight": &one}, `does not read the tensors "model.layers.0.mlp.experts.5.up_proj.weight"`},
		{tensors{"model.layers.0.mlp.shared_expert.up_proj.weight": &one}, `"model.layers.0.mlp.shared_expert.up_proj.weight"`},
		{tensors{"model.layers.2.mlp.experts.4.up_proj.weight": nil}, `"model.layers.2.mlp.experts.4.up_proj.weight"`},
		{tensors{"model.layers.0.mlp.gate.weight": nil}, `"model.layers.0.mlp.gate.weight"`},
		{tensors{"model.layers.0.mlp.experts.gate_up_proj": &one}, `"model.layers.0.mlp.experts.gate_up_proj" holds all experts of a layer, which is not implemented`},
	} {
		if _, _, err := Open(folderWith(t, "qwen3moe", `{}`, c.tensors), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// TestQwen3MoeMetadata: so are the keys and tensors of a GGUF file.
func TestQwen3MoeMetadata(t *testing.T) {
	type metadata = map[string]any
	for _, c := range []struct {
		metadata metadata
		tensors  map[string][]float32
		want     string // what is refused; empty: taken
	}{
		{nil, nil, ""},
		{metadata{"qwen3moe.expert_shared_count": uint32(0)}, nil, ""},
		{metadata{"qwen3moe.expert_shared_count": uint32(1)}, nil, "qwen3moe.expert_shared_count is 1"},
		{metadata{"qwen3moe.expert_weights_scale": float32(2)}, nil, "qwen3moe.expert_weights_scale is 2"},
		{metadata{"qwen3moe.expert_gating_func": uint32(2)}, nil, "qwen3moe.expert_gating_func is 2"},
		{metadata{"qwen3moe.expert_count": uint32(3)}, nil, `tensor "blk.0.ffn_gate_exps.weight" is [4 8 16], not a matrix for each of 3 experts`},
		{metadata{"qwen3moe.expert_count": nil}, nil, "qwen3moe.expert_count is missing"},
		{metadata{"qwen3moe.expert_used_count": uint32(5)}, nil, "num_experts_per_tok is 5 of 4 experts"},
		{metadata{"qwen3moe.expert_feed_forward_length": uint32(16)}, nil, "not [16, 16] as the configuration says"},
		{metadata{"qwen3moe.sorcery": uint32(1)}, nil, "qwen3moe.sorcery is not known"},
		{nil, map[string][]float32{"blk.0.ffn_up_exps.weight": {1, 2}}, `tensor "blk.0.ffn_up_exps.weight" is [2], not a matrix for each of 4 experts`},
		{nil, map[string][]float32{"blk.0.ffn_up_shexp.weight": {1, 2}}, "blk.0.ffn_up_shexp.weight"},
	} {
		_, s, err := Open(fileWith(t, "qwen3moe", c.metadata, c.tensors), Options{})
		if err == nil {
			defer s.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.metadata, err, c.want)
		}
	}
}

// TestQwen3MoeWindow: --sliding-window holds for every layer.
func TestQwen3MoeWindow(t *testing.T) {
	for _, path := range []string{"qwen3moe", "converted/qwen3moe/model.gguf"} {
		for n, use := range map[int]bool{7: true, 0: false} {
			s, err := OpenSource(filepath.Join(goldens, path), Options{SlidingWindow: new(n)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c, err := readQwen3Moe(s)
			if err != nil || c.UseSlidingWindow != use || use && *c.SlidingWindow != n {
				t.Errorf("%s with %d: %+v (%v)", path, n, c, err)
			}
		}
	}
}
