package dataset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// aligned renders a conversation and finds the assistant's turns in the text:
// each goes from where the prompt ends that the server would render for it to
// where a conversation ends that ends with it.
//
// Where those two renderings are the beginning of the whole one, their lengths
// say it. A template that writes a turn in another way once others follow, as
// Qwen3's leaves out the thoughts of earlier ones, is found out by rendering
// the conversation once more with a mark in every message: from the mark on,
// the whole text and the shorter rendering are compared for as long as they
// agree.
func (f chatFormat) aligned(c conversation) (whole string, learnt []tokenizer.Span, err error) {
	if whole, err = c.render(f.Template, c.messages, false); err != nil {
		return "", nil, err
	}
	if whole == "" {
		return "", nil, errBlank
	}
	var m *marks // of the whole, when it is needed
	end := 0
	for i, wanted := range c.wanted {
		if !wanted {
			continue
		}
		before, noPrompt := c.render(f.Template, c.messages[:i], true) // a template may want a user's message first
		after, err := c.render(f.Template, c.messages[:i+1], false)
		if err != nil {
			return "", nil, err
		}
		from, to := len(before), len(after)
		prompted := noPrompt == nil && strings.HasPrefix(whole, before)
		if !prompted || !strings.HasPrefix(whole, after) {
			if m == nil {
				if m, err = f.mark(c, whole); err != nil {
					return "", nil, fmt.Errorf("message %d: the chat template writes it in another way with what follows, and %w", i, err)
				}
			}
			if !prompted {
				if from, err = m.begin(i); err != nil {
					return "", nil, err
				}
			}
			if !strings.HasPrefix(whole, after) {
				if to, err = m.end(i); err != nil {
					return "", nil, err
				}
			}
		}
		if from < end || to <= from {
			return "", nil, apart(i)
		}
		learnt = append(learnt, tokenizer.Span{Start: from, End: to})
		end = to
	}
	return whole, learnt, nil
}

// apart is the error of a message whose answer is not found.
func apart(i int) error {
	return fmt.Errorf("the chat template writes message %d, or what comes before it, in another way with what follows: its answer cannot be told apart", i)
}

// generated renders a conversation with a template that marks what the
// assistant says, and takes what it marks.
func (f chatFormat) generated(c conversation) (whole string, learnt []tokenizer.Span, err error) {
	output, err := f.Template.RenderSpans(context.Background(), c.messages, c.options)
	if err != nil {
		return "", nil, err
	}
	if output.Text == "" {
		return "", nil, errBlank
	}
	var m *marks
	for _, g := range output.Generated {
		if g.Start == g.End {
			continue
		}
		wanted := true
		if !c.all() {
			if m == nil {
				if m, err = f.mark(c, output.Text); err != nil {
					return "", nil, fmt.Errorf("a turn is not to be learnt, and the chat template %w", err)
				}
			}
			if wanted, err = m.wants(g.Start, g.End); err != nil {
				return "", nil, err
			}
		}
		if wanted {
			learnt = append(learnt, tokenizer.Span{Start: g.Start, End: g.End})
		}
	}
	if len(learnt) == 0 {
		return "", nil, errors.New("the chat template marks nothing of it as what the assistant says")
	}
	return output.Text, learnt, nil
}

// all reports whether every turn of the assistant's is learnt.
func (c *conversation) all() bool {
	for i, t := range c.turns {
		if t.Role == "assistant" && !c.wanted[i] {
			return false
		}
	}
	return true
}

// wants tells whether what the assistant says from start to end of the text is
// learnt: it is said by the message whose mark is there or, without one, by
// that of the nearest marks which is the assistant's.
func (m *marks) wants(start, end int) (bool, error) {
	before, after := -1, -1
	var own []int
	for i, at := range m.at {
		switch assistant := m.c.turns[i].Role == "assistant"; {
		case at < 0:
		case at < start:
			if before < 0 || at >= m.at[before] {
				before = i
			}
		case at > end:
			if after < 0 || at < m.at[after] {
				after = i
			}
		case assistant:
			own = append(own, i)
		}
	}
	if len(own) == 0 {
		for _, i := range []int{before, after} {
			if i >= 0 && m.c.turns[i].Role == "assistant" {
				own = append(own, i)
			}
		}
	}
	for _, i := range own {
		if m.c.wanted[i] != m.c.wanted[own[0]] {
			return false, fmt.Errorf("the chat template marks messages %d and %d together, and one of them is not to be learnt", own[0], i)
		}
	}
	return len(own) > 0 && m.c.wanted[own[0]], nil
}

// marks are where each message is in a rendering.
type marks struct {
	f        chatFormat
	c        conversation
	messages []chat.Message // with their marks
	whole    string         // without them
	at       []int          // by message; -1: the template does not write it
}

// mark renders a conversation with a mark in every message: at the first of
// places where it is seen and changes nothing else of the text, or nowhere in a
// message that the template does not write. It is an error where a message has
// no such place.
func (f chatFormat) mark(c conversation, whole string) (*marks, error) {
	m := &marks{f: f, c: c, whole: whole, messages: slices.Clone(c.messages)}
	for i := range m.messages {
		m.put(i, places[0])
	}
	if m.unchanged() && !slices.Contains(m.at, -1) {
		return m, nil
	}
	copy(m.messages, c.messages)
	for i := range m.messages {
		if !m.place(i) {
			return nil, errors.New("looks at what messages say: whose words are whose cannot be told apart")
		}
	}
	return m, nil
}

// place marks message i; false where every mark changes the text.
func (m *marks) place(i int) bool {
	marked, unseen := false, false
	for _, place := range places {
		if !m.put(i, place) {
			continue
		}
		marked = true
		if m.unchanged() {
			if m.at[i] >= 0 {
				return true
			}
			unseen = true
		}
	}
	m.messages[i] = m.c.messages[i]
	return unseen || !marked && m.unchanged()
}

// put puts a mark into message i, if it has such a place.
func (m *marks) put(i int, place func(text string) int) (ok bool) {
	m.messages[i], ok = m.c.messages[i].WithMark(fmt.Sprintf("%s%d%s", markStart, i, markEnd), place)
	return ok
}

// unchanged reports whether the marks alone are new in the text, and takes down
// where they are.
func (m *marks) unchanged() bool {
	text, err := m.c.render(m.f.Template, m.messages, false)
	if err != nil {
		return false
	}
	plain, at, ok := unmark(text, len(m.messages))
	if ok = ok && plain == m.whole; ok {
		m.at = at
	}
	return ok
}

// begin is where the answer of message i begins in the whole text: where the
// prompt before it ends or, if the whole goes on in another way, where it does.
func (m *marks) begin(i int) (int, error) {
	prompt, err := m.c.render(m.f.Template, m.messages[:i], true)
	if err != nil {
		return m.opened(i)
	}
	history, err := m.c.render(m.f.Template, m.messages[:i], false)
	if err != nil {
		return 0, err
	}
	plain, at, ok := unmark(prompt, len(m.messages))
	bare, _, bareOK := unmark(history, len(m.messages))
	if !ok {
		return 0, apart(i)
	}
	k := i - 1
	for k >= 0 && (m.at[k] < 0 || at[k] < 0) {
		k--
	}
	if k < 0 {
		return m.opened(i)
	}
	from, there := m.at[k], at[k]
	same := agree(m.whole[from:], plain[there:])
	// Where the history alone and the prompt part, the generation prompt
	// begins: the whole has to have some of it.
	if there+same < len(plain) && (!bareOK || there+same <= agree(bare, plain)) {
		return 0, apart(i)
	}
	return m.f.boundary(m.whole, from+same, plain, there+same), nil
}

// opened is where the answer of message i begins that no prompt can be compared
// with: after the generation prompt that follows what was said before.
func (m *marks) opened(i int) (int, error) {
	history, err := m.c.render(m.f.Template, m.c.messages[:i+1], false)
	if err != nil {
		return 0, err
	}
	prompt, err := m.c.render(m.f.Template, m.c.messages[:i+1], true)
	if err != nil {
		return 0, err
	}
	opening := prompt[agree(history, prompt):]
	from := slices.Max(append([]int{0}, m.at[:i]...))
	if m.at[i] < from || opening == "" {
		return 0, apart(i)
	}
	at := strings.Index(m.whole[from:m.at[i]], opening)
	if at < 0 {
		return 0, apart(i)
	}
	return from + at + len(opening), nil
}

// end is where message i ends in the whole text: as far as it is written as at
// the end of a conversation.
func (m *marks) end(i int) (int, error) {
	text, err := m.c.render(m.f.Template, m.messages[:i+1], false)
	if err != nil {
		return 0, err
	}
	plain, at, ok := unmark(text, len(m.messages))
	if !ok || at[i] < 0 || m.at[i] < 0 {
		return 0, apart(i)
	}
	same := agree(m.whole[m.at[i]:], plain[at[i]:])
	return m.f.boundary(m.whole, m.at[i]+same, plain, at[i]+same), nil
}

// boundary is the place in a text where another goes on in another way: before
// the special token, of either, that they part in.
func (f chatFormat) boundary(text string, at int, other string, there int) int {
	if there == len(other) {
		return at
	}
	into := 0
	for _, token := range f.Special {
		for n := min(len(token)-1, at, there); n > into; n-- {
			if strings.HasPrefix(text[at-n:], token) || strings.HasPrefix(other[there-n:], token) {
				into = n
			}
		}
	}
	return at - into
}

// agree is how long two texts are the same.
func agree(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return n
}

const (
	markStart = "zq7mark"
	markEnd   = "kram7qz"
)

// places are where in a text a mark can stand: at its end, where a template
// that looks at what it begins with does not see it, and at others, for those
// that look at the end. White space around the text stays outside.
var places = []func(text string) int{
	func(text string) int { return len(strings.TrimRightFunc(text, unicode.IsSpace)) },
	func(text string) int {
		start := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
		_, n := utf8.DecodeRuneInString(text[start:])
		return start + n
	},
	func(text string) int { return len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace)) },
	nil, // not in the text but after the name of a function that is called
}

// unmark takes the marks of n messages out of a text and tells where they were;
// it is false where one is there twice.
func unmark(text string, n int) (plain string, at []int, ok bool) {
	at = make([]int, n)
	for i := range at {
		at[i] = -1
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, markStart)
		b.WriteString(before)
		if !found {
			return b.String(), at, true
		}
		number, rest, found := strings.Cut(rest, markEnd)
		i := 0
		if _, err := fmt.Sscanf(number, "%d", &i); !found || err != nil || i >= n || at[i] >= 0 {
			return "", at, false
		}
		at[i] = b.Len()
		text = rest
	}
}

// errBlank is the fault of a template, not of what it is given.
var errBlank = errors.New("the base's chat template renders nothing of it: no role, no text; another one, or a --format that needs none, is wanted")
