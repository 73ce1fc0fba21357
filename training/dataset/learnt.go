package dataset

import (
	"context"
	"errors"
	"fmt"
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
	var m *marks // of the whole, when it is needed
	end := 0
	for i, wanted := range c.wanted {
		if !wanted {
			continue
		}
		before, err := c.render(f.Template, c.messages[:i], true)
		if err != nil {
			return "", nil, err
		}
		after, err := c.render(f.Template, c.messages[:i+1], false)
		if err != nil {
			return "", nil, err
		}
		from, to := len(before), len(after)
		if !strings.HasPrefix(whole, before) || !strings.HasPrefix(whole, after) {
			if m == nil {
				if m, err = f.mark(c, whole); err != nil {
					return "", nil, fmt.Errorf("message %d: the chat template writes it in another way with what follows, and %w", i, err)
				}
			}
			if !strings.HasPrefix(whole, before) {
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

// mark renders a conversation with a mark in every message. It is an error
// where that changes more of the text than the marks.
func (f chatFormat) mark(c conversation, whole string) (*marks, error) {
	for _, place := range places {
		m := &marks{f: f, c: c, whole: whole}
		for i, message := range c.messages {
			m.messages = append(m.messages, message.WithMark(fmt.Sprintf("%s%d%s", markStart, i, markEnd), place))
		}
		text, err := c.render(f.Template, m.messages, false)
		if err != nil {
			continue
		}
		plain, at, ok := unmark(text, len(m.messages))
		if ok && plain == whole {
			m.at = at
			return m, nil
		}
	}
	return nil, errors.New("looks at what messages say: whose words are whose cannot be told apart")
}

// begin is where the answer of message i begins in the whole text: where the
// prompt before it ends or, if the whole goes on in another way, where it does.
func (m *marks) begin(i int) (int, error) {
	prompt, err := m.c.render(m.f.Template, m.messages[:i], true)
	if err != nil {
		return 0, err
	}
	history, err := m.c.render(m.f.Template, m.messages[:i], false)
	if err != nil {
		return 0, err
	}
	plain, at, ok := unmark(prompt, len(m.messages))
	bare, _, bareOK := unmark(history, len(m.messages))
	from, there := 0, 0
	for k := i - 1; k >= 0; k-- {
		if m.at[k] >= 0 && ok && at[k] >= 0 {
			from, there = m.at[k], at[k]
			break
		}
	}
	same := agree(m.whole[from:], plain[there:])
	// Where the history alone and the prompt part, the generation prompt
	// begins: the whole has to have some of it.
	if there+same < len(plain) && (!bareOK || there+same <= agree(bare, plain)) || !ok {
		return 0, apart(i)
	}
	return m.f.boundary(m.whole, from+same, there+same < len(plain)), nil
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
	return m.f.boundary(m.whole, m.at[i]+same, at[i]+same < len(plain)), nil
}

// boundary is the place where two texts part, before the special token that
// they part in.
func (f chatFormat) boundary(text string, at int, parted bool) int {
	if !parted {
		return at
	}
	best := at
	for _, token := range f.Special {
		for from := max(0, at-len(token)+1); from < at; from++ {
			if strings.HasPrefix(text[from:], token) {
				best = min(best, from)
			}
		}
	}
	return best
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
