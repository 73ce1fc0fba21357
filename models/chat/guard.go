package chat

import (
	"fmt"
	"strings"
)

// RenderGuarded is Render for messages that nobody vouches for. special are
// the special tokens' texts; where the conversation (not the template) spells
// one, breaks has the offset of its first byte. A tokenizer that lets no special
// token cover a break reads it as the plain text that it is.
func (t *Template) RenderGuarded(messages []Message, o Options, special []string) (prompt string, breaks []int, err error) {
	g, err := newGuard(special, messages, o)
	if err != nil {
		return "", nil, err
	}
	marked, err := t.render(messages, o, g)
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	for i, text := range strings.Split(marked, string(g.sign)) {
		if i > 0 {
			breaks = append(breaks, b.Len())
		}
		b.WriteString(text)
	}
	return b.String(), breaks, nil
}

// A guard marks the special tokens in a conversation with a sign that is taken
// out of the prompt again. The zero guard marks nothing.
type guard struct {
	special []string
	sign    rune
}

// newGuard takes a noncharacter that the conversation does not hold.
func newGuard(special []string, messages []Message, o Options) (guard, error) {
	g := guard{sign: 0xFDD0}
	for _, token := range special {
		if token != "" {
			g.special = append(g.special, token)
		}
	}
	for ; g.sign <= 0xFDEF; g.sign++ {
		if !holds(messages, o, g.sign) {
			return g, nil
		}
	}
	return g, fmt.Errorf("chat: the conversation holds every one of Unicode's noncharacters")
}

// holds reports whether the conversation has r, or may have it escaped.
func holds(messages []Message, o Options, r rune) bool {
	in := func(texts ...string) bool {
		for _, text := range texts {
			if strings.ContainsRune(text, r) || strings.Contains(strings.ToLower(text), fmt.Sprintf(`\u%04x`, r)) {
				return true
			}
		}
		return false
	}
	for _, m := range messages {
		if in(m.Role, m.Content, m.Name, m.Reasoning, m.ToolCallID) {
			return true
		}
		for _, call := range m.ToolCalls {
			if in(call.ID, call.Name, string(call.Arguments)) {
				return true
			}
		}
	}
	for _, tool := range o.Tools {
		if in(string(tool)) {
			return true
		}
	}
	for _, variable := range o.Variables {
		if in(string(variable)) {
			return true
		}
	}
	return in(o.BOS, o.EOS)
}

// mark puts the sign before each special token in s.
func (g guard) mark(s string) string {
	if len(g.special) == 0 {
		return s
	}
	var b strings.Builder
	done := 0
	for i := range s {
		for _, token := range g.special {
			if strings.HasPrefix(s[i:], token) {
				b.WriteString(s[done:i])
				b.WriteRune(g.sign)
				done = i
				break
			}
		}
	}
	return b.String() + s[done:]
}
