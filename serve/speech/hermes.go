package speech

import "strings"

// hermes is how Hermes, Qwen 2.5 and 3, SmolLM and others write calls:
//
//	<tool_call>
//	{"name": "look", "arguments": {"at": "sky"}}
//	</tool_call>
//
// one in each pair of markers, or a list of them (SmolLM2).
type hermes struct{}

const (
	hermesOpen  = "<tool_call>"
	hermesClose = "</tool_call>"
)

func (hermes) Name() string              { return "hermes" }
func (hermes) Markers() []string         { return []string{hermesOpen, hermesClose} }
func (hermes) ID(random [16]byte) string { return longID(random) }

// Claims the markers, but for those of Qwen3-Coder, between which is XML.
func (hermes) Claims(template string) bool {
	return strings.Contains(template, hermesOpen) && !strings.Contains(template, "<function=")
}

func (hermes) next(s *scan) taken {
	if s.inside {
		if t, over := s.list(); !over || t.n > 0 {
			return t
		}
	}
	at, whole := find(s.text, hermesOpen, s.ended)
	if at > 0 || !whole {
		return s.said(at)
	}
	rest := strings.TrimLeft(s.text[len(hermesOpen):], white+"[")
	if rest == "" && !s.ended {
		return taken{}
	}
	if rest == "" || rest[0] != '{' {
		return s.said(len(hermesOpen)) // it is spoken of
	}
	end, ok := s.object(len(s.text) - len(rest))
	if !ok && s.ended {
		return s.said(len(s.text))
	}
	if !ok {
		return taken{}
	}
	call, ok := readCall(s.text[len(s.text)-len(rest):end], true)
	if !ok {
		return s.said(end)
	}
	s.inside = true
	return taken{n: end, call: call}
}
