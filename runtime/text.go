package runtime

import "strings"

// text turns a sequence's tokens into the text of its events. It holds back
// what may still become a stop string, and the decoder holds back what is not
// yet a whole character. A nil text is empty.
type text struct {
	decoder Decoder
	stops   []string
	keeps   bool // the stop string that is found stays in the text
	held    string
}

// push adds a token and returns the text that is certain now. stopped tells
// that a stop string was found, if any may end the text yet: the text ends before
// it, or behind it where it stays.
func (t *text) push(token int32, stops bool) (certain string, stopped bool) {
	switch {
	case t == nil:
		return "", false
	case !stops:
		return t.decoder.Push(token), false
	}
	return t.add(t.decoder.Push(token))
}

// end returns the text that is left when no token follows.
func (t *text) end() (rest string, stopped bool) {
	if t == nil {
		return "", false
	}
	certain, stopped := t.add(t.decoder.Flush())
	if stopped {
		return certain, true
	}
	rest, t.held = certain+t.held, ""
	return rest, false
}

func (t *text) add(s string) (certain string, stopped bool) {
	if len(t.stops) == 0 {
		return s, false
	}
	if t.held != "" {
		s = t.held + s
	}
	if at, stop := firstOf(s, t.stops); at >= 0 {
		t.held = ""
		if t.keeps {
			at += len(stop)
		}
		return s[:at], true
	}
	keep := len(s) - mayBecome(s, t.stops)
	t.held = s[keep:]
	return s[:keep], false
}

// firstOf returns where the first of the stops begins in s, or -1, and which that is:
// the shortest of those that begin there.
func firstOf(s string, stops []string) (first int, found string) {
	first = -1
	for _, stop := range stops {
		at := strings.Index(s, stop)
		if at >= 0 && (first < 0 || at < first || at == first && len(stop) < len(found)) {
			first, found = at, stop
		}
	}
	return first, found
}

// mayBecome is the length of the longest end of s that begins one of the
// stops.
func mayBecome(s string, stops []string) int {
	longest := 0
	for _, stop := range stops {
		for n := min(len(stop)-1, len(s)); n > longest; n-- {
			if s[len(s)-n:] == stop[:n] {
				longest = n
				break
			}
		}
	}
	return longest
}
