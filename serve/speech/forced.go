package speech

import "strings"

// forced is how calls come in an answer that is kept to them by a schema: the
// arguments of a tool that is named, or a list of calls.
type forced struct {
	name string // empty: a list
	ids  Format // whose ids they have; nil: OpenAI's
}

// Forced is the format of an answer that is kept to the arguments of the tool of that
// name or, of none, to a list of objects with name and parameters. Ids are those of a
// format, if there is one.
func Forced(name string, ids Format) Format { return forced{name, ids} }

func (forced) Name() string       { return "" }
func (forced) Claims(string) bool { return false }
func (forced) Markers() []string  { return nil }

func (f forced) ID(random [16]byte) string {
	if f.ids != nil {
		return f.ids.ID(random)
	}
	return longID(random)
}

func (f forced) next(s *scan) taken {
	if s.inside {
		if t, over := s.list(); !over || t.n > 0 {
			return t
		}
		return s.skipped(len(s.text))
	}
	start := len(s.text) - len(strings.TrimLeft(s.text, white+"["))
	end, ok := s.object(start)
	switch {
	case !ok && s.ended:
		return s.skipped(len(s.text)) // a part of a call is no text
	case !ok:
		return taken{}
	case f.name != "":
		return taken{n: end, call: &Call{Name: f.name, Arguments: s.text[start:end]}}
	}
	call, ok := readCall(s.text[start:end], true)
	if !ok {
		return s.skipped(end)
	}
	s.inside = true
	return taken{n: end, call: call}
}
