package speech

import "strings"

// mistral is how Mistral's models write calls: a list after a marker or, the later
// ones, the name and the arguments after a marker each.
//
//	[TOOL_CALLS] [{"name": "look", "arguments": {"at": "sky"}}]
//	[TOOL_CALLS]look{"at": "sky"}
//	[TOOL_CALLS]look[CALL_ID]abc123def[ARGS]{"at": "sky"}
type mistral struct{}

const (
	mistralCalls = "[TOOL_CALLS]"
	mistralID    = "[CALL_ID]"
	mistralArgs  = "[ARGS]"
)

func (mistral) Name() string      { return "mistral" }
func (mistral) Markers() []string { return []string{mistralCalls, mistralID, mistralArgs} }

func (mistral) Claims(template string) bool { return strings.Contains(template, mistralCalls) }

// ID is of nine letters and digits: the models' templates refuse others.
func (mistral) ID(random [16]byte) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	id := make([]byte, 9)
	for i := range id {
		id[i] = letters[int(random[i])%len(letters)]
	}
	return string(id)
}

func (mistral) next(s *scan) taken {
	if s.inside {
		if t, over := s.list(); !over || t.n > 0 {
			return t
		}
	}
	at, whole := find(s.text, mistralCalls, s.ended)
	if at > 0 || !whole {
		return s.said(at)
	}
	start := s.index('{')
	if start < 0 {
		if s.ended {
			said := strings.Trim(s.text[len(mistralCalls):], white)
			return taken{n: len(s.text), content: said}
		}
		return taken{}
	}
	end, ok := s.object(start)
	if !ok && s.ended {
		return s.said(len(s.text))
	}
	if !ok {
		return taken{}
	}
	object := s.text[start:end]
	name := strings.Trim(s.text[len(mistralCalls):start], white)
	if name != "" && !strings.HasSuffix(name, "[") {
		name, _, _ = strings.Cut(name, mistralID)
		name = strings.TrimSuffix(name, mistralArgs)
		if !isObject(object) {
			return s.said(end)
		}
		return taken{n: end, call: &Call{Name: name, Arguments: object}}
	}
	call, ok := readCall(object, true)
	if !ok {
		return s.said(end)
	}
	s.inside = true
	return taken{n: end, call: call}
}
