package adapters

import "github.com/peft-serve/peft-serve/models"

// modelType is transformers' model_type of a base.
func modelType(m models.Model) string { return modelTypes[m.Config().Architecture] }

var modelTypes = map[string]string{
	"LlamaForCausalLM":                 "llama",
	"MistralForCausalLM":               "mistral",
	"Qwen2ForCausalLM":                 "qwen2",
	"Qwen3ForCausalLM":                 "qwen3",
	"GPT2LMHeadModel":                  "gpt2",
	"BertModel":                        "bert",
	"BertForSequenceClassification":    "bert",
	"RobertaModel":                     "roberta",
	"RobertaForSequenceClassification": "roberta",
}

// The modules that PEFT adapts where target_modules is null, by model_type
// (peft/utils/constants.py).
var (
	loraTargets = map[string][]string{
		"llama": {"q_proj", "v_proj"}, "mistral": {"q_proj", "v_proj"}, "qwen2": {"q_proj", "v_proj"},
		"qwen3": {"q_proj", "v_proj"}, "gpt2": {"c_attn"}, "bert": {"query", "value"}, "roberta": {"query", "value"},
	}
	ia3Targets = map[string][]string{
		"llama": {"k_proj", "v_proj", "down_proj"}, "mistral": {"k_proj", "v_proj", "down_proj"},
		"qwen2": {"q_proj", "v_proj", "down_proj"}, "qwen3": {"q_proj", "v_proj", "down_proj"},
		"gpt2": {"c_attn", "mlp.c_proj"}, "bert": {"key", "value", "output.dense"}, "roberta": {"key", "value", "output.dense"},
	}
	ia3Feedforward = map[string][]string{
		"llama": {"down_proj"}, "mistral": {"down_proj"}, "qwen2": {"down_proj"}, "qwen3": {"down_proj"},
		"gpt2": {"mlp.c_proj"}, "bert": {"output.dense"}, "roberta": {"output.dense"},
	}
	adaLoRATargets = map[string][]string{
		"llama": {"q_proj", "v_proj"}, "qwen2": {"q_proj", "v_proj"}, "qwen3": {"q_proj", "v_proj"}, "gpt2": {"c_attn"},
		"bert": {"query", "value"}, "roberta": {"query", "key", "value", "dense"},
	}
	lnTuningTargets = map[string][]string{
		"llama": {"input_layernorm", "post_attention_layernorm", "norm"}, "mistral": {"input_layernorm", "post_attention_layernorm", "norm"},
		"qwen2": {"post_attention_layernorm"}, "qwen3": {"post_attention_layernorm"},
		"gpt2": {"ln_1", "ln_2", "ln_f"},
	}
	beftTargets = map[string][]string{
		"llama": {"v_proj"}, "mistral": {"v_proj"}, "qwen2": {"v_proj"}, "qwen3": {"v_proj"},
		"bert": {"value"}, "roberta": {"value"},
	}
)
