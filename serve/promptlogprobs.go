package serve

import (
	"math"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// promptLogprobs are vLLM's of one token of a prompt: its own and those of the
// likeliest, by their ids. The first token has none: null.
type promptLogprobs map[int32]promptLogprob

type promptLogprob struct {
	Logprob float32 `json:"logprob"`
	Rank    int     `json:"rank"`
	Text    string  `json:"decoded_token"`
}

// promptLogprobsOf are those of a prompt, with so many of the likeliest each.
func promptLogprobsOf(t *tokenizer.Tokenizer, prompt []runtime.PromptToken, most int) []promptLogprobs {
	all := make([]promptLogprobs, len(prompt))
	for i, p := range prompt {
		if math.IsNaN(float64(p.Logprob.Logprob)) {
			continue
		}
		all[i] = make(promptLogprobs, most+1)
		for rank, likely := range p.Top[:min(most, len(p.Top))] {
			all[i][likely.Token] = promptLogprob{finite(likely.Logprob), rank + 1, tokenText(t, likely.Token)}
		}
		all[i][p.Token] = promptLogprob{finite(p.Logprob.Logprob), p.Rank, tokenText(t, p.Token)}
	}
	return all
}
