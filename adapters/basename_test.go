package adapters

import "testing"

func TestBaseName(t *testing.T) {
	for name, want := range map[string]string{
		"":                                           "",
		"/":                                          "",
		"HuggingFaceTB/SmolLM2-135M-Instruct":        "smollm2-135m-instruct",
		"SmolLM2-135M-Instruct.Q4_1.gguf":            "smollm2-135m-instruct",
		"SmolLM2 135M Instruct":                      "smollm2-135m-instruct",
		"/models/Llama-2-7b-hf/":                     "llama-2-7b-hf",
		`C:\models\Llama-2-7b-hf`:                    "llama-2-7b-hf",
		"./llama-2-7b.Q4_K_M.gguf":                   "llama-2-7b",
		"qwen2.5-0.5b-instruct-iq4_xs.gguf":          "qwen2.5-0.5b-instruct",
		"Qwen/Qwen2.5-0.5B":                          "qwen2.5-0.5b",
		"Qwen/Qwen3-0.6B":                            "qwen3-0.6b",
		"unsloth/llama-3.2-1b-instruct-bnb-4bit":     "llama-3.2-1b-instruct",
		"unsloth/meta-llama-3.1-8b-unsloth-bnb-4bit": "meta-llama-3.1-8b",
		"/home/me/.cache/huggingface/hub/models--meta-llama--Llama-2-7b-hf/snapshots/0f1e2": "llama-2-7b-hf",
		"models--gpt2": "gpt2",
		"https://huggingface.co/openai-community/gpt2": "gpt2",
		"gpt2": "gpt2", "gpt2-medium": "gpt2-medium",
	} {
		if got := BaseName(name); got != want {
			t.Errorf("%q is compared as %q, want %q", name, got, want)
		}
	}
}
