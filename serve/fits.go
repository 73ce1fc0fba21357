package serve

import (
	"fmt"
	"strings"

	"github.com/peft-serve/peft-serve/runtime"
)

// fits reports a prompt that is empty, has a token the model does not know, or
// leaves no room for the tokens asked for, naming the fields at fault.
func (s *Server) fits(to selection, r *runtime.Request, promptField, tokensField string) error {
	if len(r.Prompt) == 0 {
		return invalid(promptField, "%s has no tokens: give some text", promptField)
	}
	for i, id := range r.Prompt {
		if id < 0 || int(id) >= to.vocabulary {
			return invalid(promptField, "%s: token %d at place %d is outside the vocabulary of %d", promptField, id, i, to.vocabulary)
		}
	}
	if len(r.Prompt) > s.context || len(r.Prompt) == s.context && r.MaxTokens != 0 {
		return invalid(promptField, "%s has %d tokens: %s, the answer included", promptField, len(r.Prompt), s.longest())
	}
	if r.MaxTokens > s.context-len(r.Prompt) {
		which := "the prompt"
		if strings.HasSuffix(promptField, "]") {
			which = promptField // one of several
		}
		return invalid(tokensField, "%s is %d and %s has %d tokens: %s; ask for at most %d",
			tokensField, r.MaxTokens, which, len(r.Prompt), s.longest(), s.context-len(r.Prompt))
	}
	return nil
}

// longest says how long a sequence may be, and whose limit that is.
func (s *Server) longest() string {
	if s.context < s.base.Context {
		return fmt.Sprintf("this server's maximum context length is %d, for which its --kv-cache has room (the model's is %d)", s.context, s.base.Context)
	}
	return fmt.Sprintf("this model's maximum context length is %d", s.context)
}
