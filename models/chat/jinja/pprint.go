package jinja

import (
	"strings"
	"unicode/utf8"
)

// prettyWidth is the width that pprint.pformat breaks lines for.
const prettyWidth = 80

// prettyPrint is Python's pprint.pformat.
func (r *rendering) prettyPrint(v Value) string {
	p := &prettyPrinter{r: r}
	p.format(p.sorted(v), 0, 0, 1)
	return p.b.String()
}

type prettyPrinter struct {
	r *rendering
	b strings.Builder
}

// sorted is v with the keys of all dictionaries in order.
func (p *prettyPrinter) sorted(v Value) Value {
	p.r.enter()
	defer p.r.leave()
	items := func(items []Value) []Value {
		p.r.holdItems(len(items))
		made := make([]Value, len(items))
		for i, item := range items {
			made[i] = p.sorted(item)
		}
		return made
	}
	switch v := v.(type) {
	case *list:
		return &list{items(v.items)}
	case *tuple:
		if v.group {
			return v
		}
		return &tuple{items: items(v.items)}
	case *dict:
		for _, k := range v.keys {
			if _, isText := Text(k); !isText && !isNumber(k) || isNumber(k) != isNumber(v.keys[0]) {
				raise("NotImplementedError", "pprint of a dictionary with keys of several kinds")
			}
		}
		pairs := p.r.sorted(p.r.collect(&dictView{v, "items"}), func(pair Value) Value { return pair.(*tuple).items[0] }, false)
		d := &dict{}
		p.r.hold(times(len(pairs), entrySize))
		for _, pair := range pairs {
			kv := pair.(*tuple).items
			d.put(p.r.mustHash(kv[0]), kv[0], p.sorted(kv[1]))
		}
		return d
	}
	return v
}

func (p *prettyPrinter) write(s string) {
	p.r.hold(len(s))
	p.b.WriteString(s)
}

// format writes v on one line if it fits between an indentation and what
// follows, else over several.
func (p *prettyPrinter) format(v Value, indent, after, level int) {
	text := p.r.repr(v)
	if utf8.RuneCountInString(text) <= prettyWidth-indent-after {
		p.write(text)
		return
	}
	p.r.enter()
	defer p.r.leave()
	switch v := v.(type) {
	case *list:
		p.items("[", v.items, "]", indent, after, level)
	case *tuple:
		switch {
		case v.group:
			p.write(text)
		case len(v.items) == 1:
			p.items("(", v.items, ",)", indent, after, level)
		default:
			p.items("(", v.items, ")", indent, after, level)
		}
	case *dict:
		p.write("{")
		for i, key := range v.keys {
			if i > 0 {
				p.newLine(",", indent+1)
			}
			name := p.r.repr(key)
			p.write(name + ": ")
			p.format(v.values[i], indent+1+utf8.RuneCountInString(name)+2, p.after(i, len(v.keys), after+1), level+1)
		}
		p.write("}")
	case str:
		p.text(string(v), indent, after, level)
	default:
		p.write(text)
	}
}

func (p *prettyPrinter) newLine(before string, indent int) {
	p.write(before + "\n" + strings.Repeat(" ", indent))
}

// after is how much follows the item i of n on its line.
func (p *prettyPrinter) after(i, n, last int) int {
	if i == n-1 {
		return last
	}
	return 1
}

func (p *prettyPrinter) items(open string, items []Value, end string, indent, after, level int) {
	p.write(open)
	for i, item := range items {
		if i > 0 {
			p.newLine(",", indent+1)
		}
		p.format(item, indent+1, p.after(i, len(items), after+len(end)), level+1)
	}
	p.write(end)
}

// text writes a string as several literals, each of a line or of words of it.
func (p *prettyPrinter) text(s string, indent, after, level int) {
	if level == 1 {
		indent++
		after++
	}
	width := prettyWidth - indent
	var chunks []string
	lines := p.r.lines(s, true)
	for i, line := range lines {
		last := i == len(lines)-1
		fits := width
		if last {
			fits -= after
		}
		if quoted := p.quote(line); utf8.RuneCountInString(quoted) <= fits {
			chunks = append(chunks, quoted)
			continue
		}
		current := ""
		for line != "" {
			part := wordWithSpace(line)
			line = line[len(part):]
			fits := width
			if last && line == "" {
				fits -= after
			}
			if utf8.RuneCountInString(p.quote(current+part)) > fits {
				if current != "" {
					chunks = append(chunks, p.quote(current))
				}
				current = part
			} else {
				current += part
			}
		}
		if current != "" {
			chunks = append(chunks, p.quote(current))
		}
	}
	if len(chunks) == 1 {
		p.write(p.quote(lines[len(lines)-1]))
		return
	}
	if level == 1 {
		p.write("(")
	}
	for i, chunk := range chunks {
		if i > 0 {
			p.newLine("", indent)
		}
		p.write(chunk)
	}
	if level == 1 {
		p.write(")")
	}
}

func (p *prettyPrinter) quote(s string) string { return p.r.repr(str(s)) }

// wordWithSpace is what s begins with: characters, then white space.
func wordWithSpace(s string) string {
	end := strings.IndexFunc(s, isSpace)
	if end < 0 {
		return s
	}
	return s[:end+spaces(s[end:])]
}
