package models

import (
	"bytes"
	"encoding/json"
	"slices"
)

// inert is the rule of a key that no builder reads: why nothing depends on it.
// Where that holds of some values alone, only lists them as JSON, and any other
// is refused.
type inert struct {
	why  string
	only []string
}

// allows reports whether a value, as JSON, is without effect. What is null was
// left unset.
func (i inert) allows(value []byte) bool {
	var compact bytes.Buffer
	if json.Compact(&compact, value) != nil {
		return false
	}
	v := compact.String()
	return i.only == nil || v == "null" || slices.Contains(i.only, v)
}

const (
	ofGenerate = "a default of generate(): requests set it"
	ofTraining = "of the training that made the weights"
	ofTask     = "of other tasks than text generation"
	ofHead     = "read by heads"
	ofOutput   = "what Python's forward returns"
	ofTooling  = "a note of the tool that wrote the file"
	ofSpeed    = "how, not what, is computed"
	ofStorage  = "each tensor has its own"
	ofDropout  = "dropout of the base: answers have none, and a run has its own"
	ofTokens   = "a token of the tokenizer, which is read from its own files"
)

var (
	none   = []string{"0", "0.0", "false", "[]", "{}", `""`}
	unused = inert{"0: not used", none}
	one    = inert{"1: multiplies by nothing", []string{"1", "1.0"}}
	unset  = inert{"null: not used", []string{}}
)

// inertKeys are the keys of config.json that change nothing in what is
// computed. Whatever is neither here nor read is refused.
var inertKeys = map[string]inert{
	"architectures": {why: "read by Source"}, "model_type": {why: "read by Source"},
	"bos_token_id": {why: "read by special"}, "eos_token_id": {why: "read by special"},
	"pad_token_id": {why: "read by special"}, "sep_token_id": {why: ofTokens}, "unk_token_id": {why: ofTokens}, "cls_token_id": {why: ofTokens},
	"mask_token_id": {why: ofTokens}, "tokenizer_class": {why: ofTokens}, "prefix": {why: ofTokens}, "decoder_start_token_id": {why: ofTokens},

	"_name_or_path": {why: ofTooling}, "_commit_hash": {why: ofTooling}, "transformers_version": {why: ofTooling}, "_from_model_config": {why: ofTooling},
	"transformers.js_config": {why: ofTooling}, "unsloth_version": {why: ofTooling}, "unsloth_fixed": {why: ofTooling}, "is_llama_config": {why: ofTooling},
	"_attn_implementation": {why: ofSpeed}, "_attn_implementation_autoset": {why: ofSpeed},
	"attn_implementation": {why: ofSpeed}, "_flash_attn_2_enabled": {why: ofSpeed},
	"use_flash_attn": {why: ofSpeed}, "use_flash_attention": {why: ofSpeed}, "use_sdpa": {why: ofSpeed},
	"model_parallel": {why: ofSpeed}, "use_flash_attention_2": {why: ofSpeed}, "torchscript": {why: ofSpeed}, "use_cache": {why: "keys and values are always kept"},
	"cache_implementation": {why: ofSpeed}, "chunk_size_feed_forward": {why: "rows are independent of each other"},
	"pretraining_tp": {why: "cuts the same products in pieces; transformers ignores it"}, "reorder_and_upcast_attn": {why: "attention is computed in float32"},
	"torch_dtype": {why: ofStorage}, "dtype": {why: ofStorage}, "use_bfloat16": {why: ofStorage},
	"auto_map":            {why: "code beside the weights; like transformers, unless told to trust it, the known class is run"},
	"max_sequence_length": {why: "an old name of max_position_embeddings"}, "model_max_length": {why: "of the tokenizer; max_position_embeddings counts"},
	"n_ctx": {why: "an old name of n_positions"}, "seq_length": {why: "an old name of max_position_embeddings"},

	"initializer_range": {why: ofTraining}, "router_aux_loss_coef": {why: "of a loss that output_router_logits asks for"}, "gradient_checkpointing": {why: ofTraining}, "neftune_noise_alpha": {why: ofTraining}, "loss_type": {why: ofTraining}, "use_reentrant_checkpointing": {why: ofTraining},
	"attention_dropout": {why: ofDropout}, "hidden_dropout": {why: ofDropout},
	"attn_pdrop": {why: ofDropout}, "embd_pdrop": {why: ofDropout},
	"resid_pdrop": {why: ofDropout}, "hidden_dropout_prob": {why: ofDropout},
	"attention_probs_dropout_prob": {why: ofDropout},

	"return_dict": {why: ofOutput}, "return_dict_in_generate": {why: ofOutput}, "output_attentions": {why: ofOutput}, "output_hidden_states": {why: ofOutput},
	"output_scores": {why: ofOutput}, "output_past": {why: ofOutput}, "output_logits": {why: ofOutput},

	"sentence_transformers": {why: "read by ReadClasses"}, "sbert_ce_default_activation_function": {why: "read by ReadClasses"},
	"id2label": {why: ofHead}, "label2id": {why: ofTask}, "num_labels": {why: ofHead}, "_num_labels": {why: ofHead}, "problem_type": {why: ofHead},
	"finetuning_task": {why: ofTask}, "task_specific_params": {why: ofTask}, "classifier_dropout": {why: ofTask}, "tf_legacy_loss": {why: ofTask},
	"summary_type": {why: ofTask}, "summary_use_proj": {why: ofTask}, "summary_activation": {why: ofTask}, "summary_first_dropout": {why: ofTask},
	"summary_proj_to_labels": {why: ofTask}, "n_special": {why: ofTask}, "predict_special_tokens": {why: ofTask},

	"max_length": {why: ofGenerate}, "min_length": {why: ofGenerate}, "do_sample": {why: ofGenerate}, "early_stopping": {why: ofGenerate}, "num_beams": {why: ofGenerate},
	"num_beam_groups": {why: ofGenerate}, "diversity_penalty": {why: ofGenerate}, "temperature": {why: ofGenerate}, "top_k": {why: ofGenerate}, "top_p": {why: ofGenerate},
	"typical_p": {why: ofGenerate}, "repetition_penalty": {why: ofGenerate}, "length_penalty": {why: ofGenerate}, "no_repeat_ngram_size": {why: ofGenerate},
	"encoder_no_repeat_ngram_size": {why: ofGenerate}, "bad_words_ids": {why: ofGenerate}, "num_return_sequences": {why: ofGenerate}, "max_new_tokens": {why: ofGenerate},
	"forced_bos_token_id": {why: ofGenerate}, "forced_eos_token_id": {why: ofGenerate}, "remove_invalid_values": {why: ofGenerate}, "renormalize_logits": {why: ofGenerate},
	"exponential_decay_length_penalty": {why: ofGenerate}, "suppress_tokens": {why: ofGenerate}, "begin_suppress_tokens": {why: ofGenerate},

	"output_router_logits": {why: "false: no loss of the router", only: []string{"false"}},
	"is_decoder":           {why: "attention is causal either way"},
	"activation":           {why: "hidden_act, by another name", only: []string{`"swiglu"`, `"silu"`}},
	"qk_layernorm":         {why: "false: no norms on query and key", only: []string{"false"}},
	"qk_layer_norms":       {why: "false: no norms on query and key", only: []string{"false"}},
	"use_qk_norm":          {why: "false: no norms on query and key", only: []string{"false"}},
	"use_mrope":            {why: "false: one position a token", only: []string{"false"}},
	"rope_interleaved":     {why: "false: the halves of a head are rotated, as transformers does", only: []string{"false"}},
	"rope_scaling_factor":  one, "rope_scaling_type": unset,
	"is_encoder_decoder":  {why: "false: a decoder alone", only: []string{"false"}},
	"add_cross_attention": {why: "false: a decoder alone", only: []string{"false"}},
	"tie_encoder_decoder": {why: "there is no encoder"}, "cross_attention_hidden_size": unset,
	"pruned_heads":        {why: "none: nothing is cut away", only: none},
	"quantization_config": {why: "null: use the unquantised model, or a GGUF", only: []string{}}, "compression_config": unset,
	"num_experts": unused, "num_local_experts": unused, "num_experts_per_tok": unused, "alibi": unused, "use_alibi": unused, "bias": unused, "qkv_bias": unused,
	"attn_logit_softcapping": unset, "final_logit_softcapping": unset, "clip_qkv": unset, "rotary_pct": one, "rope_pct": one,
	"logit_scale": one, "logits_scaling": one, "embedding_multiplier": one, "residual_multiplier": one,
}

// inertMetadata are the keys of GGUF metadata, after the architecture's prefix,
// that change nothing. What is neither here nor read is refused; keys under
// other prefixes (general, tokenizer, quantize, split) do not describe the
// computation.
var inertMetadata = map[string]inert{
	"rope.scaling.finetuned": {why: ofTooling},
	"pooling_type":           {why: ofTask},
	"decoder_start_token_id": {why: ofTokens},
	"tensor_data_layout":     {why: "the order of q and k, which is known", only: []string{`"Meta AI original pth"`, `"reference"`}},
	"attention.causal":       {why: "true: causal", only: []string{"true"}},
	"use_parallel_residual":  {why: "false: one after the other", only: []string{"false"}},
	"logit_scale":            {why: "1, or 0 where it is not set", only: []string{"0", "1"}},
	"embedding_scale":        {why: "1, or 0 where it is not set", only: []string{"0", "1"}},
	"residual_scale":         {why: "1, or 0 where it is not set", only: []string{"0", "1"}},
	"expert_count":           unused, "expert_used_count": unused, "expert_shared_count": unused, "expert_group_count": unused, "expert_group_used_count": unused,
	"expert_feed_forward_length": unused, "expert_shared_feed_forward_length": unused, "expert_chunk_feed_forward_length": unused,
	"expert_weights_scale": unused, "expert_weights_norm": unused, "expert_gating_func": unused, "moe_every_n_layers": unused,
	"leading_dense_block_count": unused, "nextn_predict_layers": unused, "n_deepstack_layers": unused,
	"attention.layer_norm_epsilon": {why: "of the norm that the family has not"}, "attention.layer_norm_rms_epsilon": {why: "of the norm that the family has not"},
	"attn_logit_softcapping": unused, "final_logit_softcapping": unused, "attention.max_alibi_bias": unused, "attention.clamp_kqv": unused,
	"attention.key_length_mla": unused, "attention.value_length_mla": unused, "swin_norm": unused, "rescale_every_n_layers": unused,
	"attention.q_lora_rank": unused, "attention.kv_lora_rank": unused, "attention.relative_buckets_count": unused,
}
