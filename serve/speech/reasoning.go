package speech

import "strings"

// Reasoning is whether a reply has some, between <think> and </think>.
type Reasoning uint8

const (
	NoReasoning Reasoning = iota
	MayReason             // it may begin with <think>
	Within                // the prompt has ended with <think>
)

// Reasoning stands between these.
const (
	Thinks  = "<think>"
	Thought = "</think>"
)

// ReasoningOf is that of the replies to a prompt, by a chat template.
func ReasoningOf(template, prompt string) Reasoning {
	switch {
	case strings.HasSuffix(strings.TrimRight(prompt, white), Thinks):
		return Within
	case strings.Contains(template, Thinks), strings.Contains(template, Thought):
		return MayReason
	}
	return NoReasoning
}

// reasoning splits a reply into what comes before </think> and what comes after,
// both without the line breaks around it.
type reasoning struct {
	within bool
	done   bool
	held   string
	begun  bool // what is given now, thought or said, has begun
}

// split returns what is certain of the next part of a reply.
func (r *reasoning) split(text string, ended bool) (reasoned, said string) {
	text = r.held + text
	r.held = ""
	if !r.within && !r.done {
		rest := strings.TrimLeft(text, white)
		switch {
		case strings.HasPrefix(rest, Thinks):
			r.within, text = true, rest[len(Thinks):]
		case !ended && strings.HasPrefix(Thinks, rest):
			r.held = text
			return "", ""
		default:
			r.done, r.begun = true, true
		}
	}
	if r.within {
		end, whole := find(text, Thought, ended)
		reasoned = text[:end]
		text = text[end:]
		if !whole {
			r.held, text = text, ""
		}
		if !r.begun {
			reasoned = strings.TrimLeft(reasoned, "\n")
			r.begun = reasoned != ""
		}
		kept := strings.TrimRight(reasoned, "\n") // the last line breaks are not its own
		if whole || ended {
			r.within, r.done, r.begun = false, true, false
			text = strings.TrimPrefix(text, Thought)
		} else {
			r.held = reasoned[len(kept):] + r.held
		}
		reasoned = kept
	}
	if r.done && !r.begun {
		text = strings.TrimLeft(text, "\n")
		r.begun = text != ""
	}
	return reasoned, text
}

// find is where a marker begins in a text or, if it may begin at its end, that.
func find(text, marker string, ended bool) (at int, whole bool) {
	if at := strings.Index(text, marker); at >= 0 {
		return at, true
	}
	if !ended {
		for n := min(len(marker)-1, len(text)); n > 0; n-- {
			if strings.HasSuffix(text, marker[:n]) {
				return len(text) - n, false
			}
		}
	}
	return len(text), false
}
