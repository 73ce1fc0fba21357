package serve

import "github.com/peft-serve/peft-serve/runtime"

// fits reports a prompt that is empty, has a token the model does not know, or
// leaves no room for the tokens asked for, naming the fields at fault.
func (s *Server) fits(r *runtime.Request, promptField, tokensField string) error {
	if len(r.Prompt) == 0 {
		return invalid(promptField, "%s has no tokens: give some text", promptField)
	}
	for i, id := range r.Prompt {
		if id < 0 || int(id) >= s.vocabulary {
			return invalid(promptField, "%s: token %d at place %d is outside the vocabulary of %d", promptField, id, i, s.vocabulary)
		}
	}
	if len(r.Prompt) > s.context || len(r.Prompt) == s.context && r.MaxTokens != 0 {
		return invalid(promptField, "%s has %d tokens: this model's maximum context length is %d, the answer included", promptField, len(r.Prompt), s.context)
	}
	if r.MaxTokens > s.context-len(r.Prompt) {
		return invalid(tokensField, "%s is %d and the prompt has %d tokens: this model's maximum context length is %d; ask for at most %d",
			tokensField, r.MaxTokens, len(r.Prompt), s.context, s.context-len(r.Prompt))
	}
	return nil
}
