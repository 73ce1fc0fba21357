package serve

import (
	"math/rand/v2"
	"strings"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/serve/speech"
)

// ToolParserAuto has the format of calls chosen by the chat template, ToolParserNone
// has them stay text.
const (
	ToolParserAuto = "auto"
	ToolParserNone = "none"
)

// CheckToolParser refuses what is no format of calls, nor auto or none.
func CheckToolParser(name string) error {
	if name == "" || name == ToolParserAuto || name == ToolParserNone {
		return nil
	}
	_, err := speech.FormatNamed(name)
	return err
}

// callFormat is the format that a template's models write calls in; nil: it is not
// known, and they stay text.
func (s *Server) callFormat(template string) speech.Format {
	switch s.config.ToolParser {
	case "", ToolParserAuto:
		return speech.FormatOf(template)
	case ToolParserNone:
		return nil
	}
	format, err := speech.FormatNamed(s.config.ToolParser)
	if err != nil {
		panic(err) // Validate has seen to it
	}
	return format
}

// chatReplies takes the choices of a chat apart.
type chatReplies struct {
	format   speech.Format // nil: no tools may be called
	reasons  speech.Reasoning
	parallel bool // several calls may be in one answer
	named    bool // the answer is the arguments of a call that was asked for
	parsers  []*speech.Parser
	calls    []int // of each choice, so far
}

// repliesOf are those to a prompt of a template.
func (s *Server) repliesOf(r *chatRequest, template, prompt string) chatReplies {
	n := or(r.N, 1)
	w := chatReplies{parallel: or(r.ParallelTools, true), reasons: speech.ReasoningOf(template, prompt), parsers: make([]*speech.Parser, n), calls: make([]int, n)}
	if r.formed {
		w.reasons = speech.NoReasoning
	} else if len(r.tools()) > 0 {
		w.format = s.callFormat(template)
	}
	if choice := &r.ToolChoice; choice.forces() {
		w.named = choice.name != ""
		w.format = speech.Forced(choice.name, s.callFormat(template))
	}
	for i := range w.parsers {
		w.parsers[i] = speech.New(w.format, w.reasons)
	}
	return w
}

// shown are the special tokens that tell calls and reasoning apart from the text.
func (w *chatReplies) shown(text *tokenizer.Tokenizer) (special []int32) {
	var markers []string
	if w.format != nil {
		markers = w.format.Markers()
	}
	if w.reasons != speech.NoReasoning {
		markers = append(markers, speech.Thinks, speech.Thought)
	}
	for _, m := range markers {
		if id, ok := text.ID(m); ok && text.IsSpecial(id) {
			special = append(special, id)
		}
	}
	return special
}

// chatCall is a call of a tool in an answer.
type chatCall struct {
	Index    *int             `json:"index,omitempty"` // in a stream
	ID       string           `json:"id"`
	Type     string           `json:"type"`
	Function chatCallFunction `json:"function"`
}

type chatCallFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// replyPart is what an event adds to a choice.
type replyPart struct {
	reasoning, content string
	calls              []chatCall
}

// take takes the text of an event apart, which may be a choice's last.
func (w *chatReplies) take(choice int, text string, last bool) (part replyPart) {
	pieces := w.parsers[choice].Push(text)
	if last {
		pieces = append(pieces, w.parsers[choice].End()...)
	}
	var content, reasoning strings.Builder
	for _, p := range pieces {
		content.WriteString(p.Content)
		reasoning.WriteString(p.Reasoning)
		if p.Call == nil || w.calls[choice] > 0 && !w.parallel {
			continue
		}
		index := w.calls[choice]
		w.calls[choice]++
		part.calls = append(part.calls, chatCall{Index: &index, ID: w.format.ID(randomID()), Type: "function", Function: chatCallFunction{p.Call.Name, p.Call.Arguments}})
	}
	part.content, part.reasoning = content.String(), reasoning.String()
	return part
}

// finish is why a choice ended: to have its tools called, where it ended by itself
// and they were its own idea.
func (w *chatReplies) finish(choice int, reason *string) *string {
	if reason != nil && *reason == "stop" && w.calls[choice] > 0 && !w.named {
		called := "tool_calls"
		return &called
	}
	return reason
}

func randomID() (id [16]byte) {
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}
