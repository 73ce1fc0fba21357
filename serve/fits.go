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
	if key := to.who.key; key != nil && key.Limits.Prompt > 0 && len(r.Prompt) > key.Limits.Prompt {
		return invalid(promptField, "%s has %d tokens: this key's limit prompt is %d", promptField, len(r.Prompt), key.Limits.Prompt)
	}
	if len(r.Prompt) > s.context || len(r.Prompt) == s.context && r.MaxTokens != 0 {
		return tooLong(promptField, "%s has %d tokens: %s, the answer included", promptField, len(r.Prompt), s.longest())
	}
	if r.MaxTokens > s.context-len(r.Prompt) {
		which := "the prompt"
		if strings.HasSuffix(promptField, "]") {
			which = promptField // one of several
		}
		return tooLong(tokensField, "%s is %d and %s has %d tokens: %s; ask for at most %d",
			tokensField, r.MaxTokens, which, len(r.Prompt), s.longest(), s.context-len(r.Prompt))
	}
	return nil
}

// tooManyTokens is the code of a text that is too long.
const tooManyTokens = "context_length_exceeded"

// tooLong refuses what the context does not hold, by the code and, in longest, the
// words that OpenAI's clients know it by.
func tooLong(param, format string, args ...any) *failure {
	f := invalid(param, format, args...)
	f.code = tooManyTokens
	return f
}

// longest says how long a sequence may be, and whose limit that is.
func (s *Server) longest() string {
	if s.context < s.base.Context {
		return fmt.Sprintf("this model's maximum context length is %d here, for which --kv-cache has room (its own is %d)", s.context, s.base.Context)
	}
	return fmt.Sprintf("this model's maximum context length is %d", s.context)
}

// longestBeside is longest, less the virtual tokens of an adapter.
func (s *Server) longestBeside(to selection) string {
	if room := to.room(s.context); room < s.context {
		return fmt.Sprintf("%s, of which %d are the adapter's own", s.longest(), s.context-room)
	}
	return s.longest()
}

// The bounds of what may end an answer: the step loop looks for each after
// every token, and all requests wait for it.
const (
	maxStops     = 64   // strings
	maxStopBytes = 1024 // of each
	maxStopIDs   = 1024
)

// checkStops refuses stop strings of a field that cannot be or are too many.
func checkStops(field string, stops []string) error {
	if len(stops) > maxStops {
		return invalid(field, "%s has %d strings: give at most %d", field, len(stops), maxStops)
	}
	for i, s := range stops {
		switch {
		case s == "" && len(stops) == 1:
			return invalid(field, "%s is empty: leave it out, or give the text to stop at", field)
		case s == "":
			return invalid(field, "%s[%d] is empty: leave it out, or give the text to stop at", field, i)
		case len(s) > maxStopBytes:
			return invalid(field, "%s[%d] has %d bytes: give at most %d", field, i, len(s), maxStopBytes)
		}
	}
	return nil
}
