package speech

import (
	"fmt"
	"slices"
	"strings"
)

// A Format is how models write calls of tools.
type Format interface {
	// Name is what --tool-parser calls it.
	Name() string
	// Claims reports whether a chat template writes calls so.
	Claims(template string) bool
	// Markers are the tokens that it knows calls by: they have to be in the text
	// though they may be special.
	Markers() []string
	// ID makes the id of a call of random bytes, as the model's own template takes it.
	ID(random [16]byte) string
	// next takes what it can from the beginning of a text that is not empty.
	next(s *scan) taken
}

var formats = []Format{hermes{}, llama{}, mistral{}}

// FormatOf is the format of a chat template's calls; nil: none is known.
func FormatOf(template string) Format {
	for _, f := range formats {
		if f.Claims(template) {
			return f
		}
	}
	return nil
}

// FormatNamed is the format of that name.
func FormatNamed(name string) (Format, error) {
	var names []string
	for _, f := range formats {
		if f.Name() == name {
			return f, nil
		}
		names = append(names, f.Name())
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%q is no format of calls: there are %s", name, strings.Join(names, ", "))
}

// taken is a piece from the beginning of a text: a call, or n bytes of which
// content, if any, is said.
type taken struct {
	n       int // 0: more of the text is needed
	content string
	call    *Call
}

// A scan is a text that a format takes pieces of.
type scan struct {
	text   string
	held   *strings.Builder // what text is the end of, once it has grown; nil: it has not
	ended  bool             // nothing follows
	inside bool             // between the calls of a list; the format's own

	looked          int // up to where index has
	read            int // of the object that the text begins with, or has in it
	depth           int
	quoted, escaped bool
}

// add appends to the text, and does not copy what there is of it.
func (s *scan) add(text string) {
	if s.text == "" {
		s.text, s.held = text, nil
		return
	}
	if s.held == nil {
		s.held = new(strings.Builder)
		s.held.WriteString(s.text)
	}
	s.held.WriteString(text)
	whole := s.held.String()
	s.text = whole[len(whole)-len(s.text)-len(text):]
}

// advance takes the first n bytes away.
func (s *scan) advance(n int) {
	*s = scan{text: s.text[n:], held: s.held, ended: s.ended, inside: s.inside}
}

// index is where the first such byte is, -1: not yet. It is asked of one byte, and
// looks at what is before it once.
func (s *scan) index(c byte) int {
	at := strings.IndexByte(s.text[s.looked:], c)
	if at < 0 {
		s.looked = len(s.text)
		return -1
	}
	s.looked += at
	return s.looked
}

// said takes n bytes as content.
func (s *scan) said(n int) taken { return taken{n: n, content: s.text[:n]} }

// skipped takes n bytes that are nothing.
func (s *scan) skipped(n int) taken { return taken{n: n} }

// object is where the JSON object ends that begins at start; false: not yet. It
// reads every byte once, however often it is asked.
func (s *scan) object(start int) (end int, ok bool) {
	for s.read = max(s.read, start); s.read < len(s.text); s.read++ {
		switch c := s.text[s.read]; {
		case s.escaped:
			s.escaped = false
		case s.quoted && c == '\\':
			s.escaped = true
		case c == '"':
			s.quoted = !s.quoted
		case s.quoted:
		case c == '{' || c == '[':
			s.depth++
		case c == '}' || c == ']':
			if s.depth--; s.depth == 0 {
				return s.read + 1, true
			}
		}
	}
	return 0, false
}

// list takes the next call of a list that a call has been taken of: it ends at what
// is neither a comma nor an object.
func (s *scan) list() (t taken, over bool) {
	rest := strings.TrimLeft(s.text, white+",;")
	start := len(s.text) - len(rest)
	switch {
	case rest == "":
		return taken{}, s.ended
	case rest[0] != '{':
		s.inside = false
		return s.skipped(start), true
	}
	end, ok := s.object(start)
	if !ok {
		return taken{}, s.ended
	}
	call, _ := readCall(s.text[start:end], true) // what is none is left out
	return taken{n: end, call: call}, false
}
