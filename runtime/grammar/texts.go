package grammar

import "fmt"

// texts are strings of so many characters.
type texts struct {
	whole named  // of any length; it has a name if it is of a library
	key   string // what it is of
	span
}

// textOf are the strings of a schema.
func textOf(s object, path string) (t texts, err error) {
	least, err := size(s, "minLength", path, 0)
	if err != nil {
		return t, err
	}
	most, err := size(s, "maxLength", path, -1)
	if err != nil {
		return t, err
	}
	if most >= 0 && most < least {
		return t, fault(path+"/maxLength", "is less than minLength")
	}
	t.span = span{int32(least), int32(most)}
	pattern, ofPattern, err := patternOf(s, path)
	if err != nil {
		return t, err
	}
	format, name, err := formatOf(s, path)
	if err != nil {
		return t, err
	}
	t.key = fmt.Sprintf("format %q pattern %q", name, ofPattern)
	switch {
	case pattern == nil && format == nil:
		t.whole = named{name: "string", strings: true, is: anyString}
	case pattern == nil:
		t.whole = named{name: "format " + name, strings: true, is: format}
	case format == nil:
		t.whole.is = pattern
	default:
		t.whole.is = product{a: pattern, b: format}
	}
	return t, nil
}

// patternOf are the strings of a schema's pattern; nil: it has none.
func patternOf(s object, path string) (e expr, pattern string, err error) {
	v, ok := s.get("pattern")
	if !ok {
		return nil, "", nil
	}
	pattern, isText := v.(string)
	if !isText {
		return nil, "", fault(path+"/pattern", "is no text")
	}
	if e, err = search(pattern); err != nil {
		return nil, "", fault(path+"/pattern", "cannot be kept to: %s", err)
	}
	return inQuotes(quoted(e)), pattern, nil
}

// formatOf are the strings of a schema's format, or of its encoding; nil: any.
func formatOf(s object, path string) (e expr, name string, err error) {
	v, ok := s.get("format")
	name, _ = v.(string)
	if encoding, _ := s.get("contentEncoding"); !ok && encoding == "base64" {
		v, ok, name = encoding, true, "base64"
	}
	if !ok || anyText[name] {
		return nil, "", nil
	}
	pattern, known := formats[name]
	if !known {
		return nil, "", fault(path+"/format", "is %s, which is not supported: leave it out, or write it as a pattern", canonical(v))
	}
	if e, err = regex(pattern, 0); err != nil {
		return nil, "", fault(path+"/format", "cannot be kept to: %s", err)
	}
	return inQuotes(quoted(e)), name, nil
}

func inQuotes(e expr) expr { return sequence{text(`"`), e, text(`"`)} }

var (
	anyCharacter = quoted(complement(nil))
	anyString    = inQuotes(star(anyCharacter))
)

// text is the expression of strings.
func (c *compiler) text(t texts, path string) (expr, error) {
	whole := t.whole.is
	if t.whole.name != "" {
		whole = c.library(t.whole)
	}
	if t.span == anySpan {
		return whole, nil
	}
	made, err := c.counted(t)
	if err != nil {
		return nil, fault(path, "cannot be kept to: %s", err)
	}
	left, some := t.span.toward(made.states[0].ahead)
	switch {
	case !some || len(made.states[0].bytes) == 0:
		return choice{}, nil
	case left == anySpan:
		return whole, nil
	case left.least > 0 && left.most >= 0 && left.most-left.least < made.gap:
		return product{a: t.whole.is, b: inQuotes(repeat{anyCharacter, int(t.least), int(t.most)})}, nil
	}
	if t.whole.name == "" {
		whole, _ = c.rule("texts "+t.key, "", func() (expr, error) { return t.whole.is, nil })
		c.rules[whole.(call)].made = made
	}
	like := whole.(call)
	e, _ := c.rule(fmt.Sprint("texts like ", like, " of ", left), "", func() (expr, error) { return nil, nil })
	c.rules[e.(call)].like, c.rules[e.(call)].span = int(like), left
	return e, nil
}

// counted are strings of any length, with their characters counted.
func (c *compiler) counted(t texts) (*counted, error) {
	if t.whole.name != "" {
		return t.whole.library()
	}
	if n, ok := c.refs["texts "+t.key]; ok {
		return c.rules[n].made, nil
	}
	states, err := rule(t.whole.is, 0, c.left)
	if err != nil {
		return nil, err
	}
	return countedOf(states, c.left)
}
