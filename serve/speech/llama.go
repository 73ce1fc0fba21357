package speech

import "strings"

// llama is how Llama 3.1 and later write calls: an object by itself, or several
// with semicolons between them, after <|python_tag|> or not.
//
//	{"name": "look", "parameters": {"at": "sky"}}
type llama struct{}

const pythonTag = "<|python_tag|>"

func (llama) Name() string              { return "llama3_json" }
func (llama) Markers() []string         { return []string{pythonTag} }
func (llama) ID(random [16]byte) string { return longID(random) }

func (llama) Claims(template string) bool {
	return strings.Contains(template, "<|start_header_id|>") && strings.Contains(template, "ipython")
}

func (llama) next(s *scan) taken {
	if s.text[0] != '{' {
		at, whole := find(s.text, pythonTag, s.ended)
		if brace := strings.IndexByte(s.text[:at], '{'); brace >= 0 {
			at = brace
		}
		switch {
		case at > 0:
			return s.said(at)
		case whole:
			return s.skipped(len(pythonTag))
		}
		return taken{} // the beginning of the tag
	}
	rest := strings.TrimLeft(s.text[1:], white)
	switch {
	case rest == "" && !s.ended:
		return taken{}
	case rest == "" || rest[0] != '"':
		return s.said(1)
	}
	end, ok := s.object(0)
	if !ok && s.ended {
		return s.said(len(s.text))
	}
	if !ok {
		return taken{}
	}
	call, ok := readCall(s.text[:end], false)
	if !ok {
		return s.said(end)
	}
	return taken{n: end, call: call}
}
