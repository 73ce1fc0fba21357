package jinja

import (
	"fmt"
	"html"
	"net/url"
	"strings"
	"unicode/utf8"
)

func init() {
	// A filter that calls the method of the same name on the text.
	method := func(name string) func(*rendering, []Value) Value {
		return func(r *rendering, a []Value) Value { return r.callMethod(r.soft(a[0]), name, a[1:]...) }
	}
	addFilters(map[string]func(r *rendering, a []Value) Value{
		"upper(s)":      method("upper"),
		"lower(s)":      method("lower"),
		"capitalize(s)": method("capitalize"),
		"trim(value, chars=)": func(r *rendering, a []Value) Value {
			return r.callMethod(r.soft(a[0]), "strip", orNone(a[1]))
		},
		"center(value, width=)": func(r *rendering, a []Value) Value {
			return r.callMethod(r.soft(a[0]), "center", orDefault(a[1], integer(80)))
		},
		"title(s)": titleFilter,
		"replace(s, old, new, count=)": func(r *rendering, a []Value) Value {
			count := -1
			if a[3] != nil && a[3] != None {
				count = countArg(a[3])
			}
			return str(r.replace(r.str(a[0]), r.str(a[1]), r.str(a[2]), count))
		},
		"format(value, *args, **kwargs)": func(r *rendering, a []Value) Value {
			args, kwargs := a[1].(*tuple), a[2].(*dict)
			if len(args.items) > 0 && len(kwargs.keys) > 0 {
				raise("FilterArgumentError", "can't handle positional and keyword arguments at the same time")
			}
			var given Value = args
			if len(kwargs.keys) > 0 {
				given = kwargs
			}
			return r.binary("mod", r.soft(a[0]), given)
		},
		"join(value, d=, attribute=)": func(r *rendering, a []Value) Value {
			get := r.getter(a[2], nil, false)
			separator := ""
			if a[1] != nil {
				separator = r.str(a[1])
			}
			return str(r.join(separator, a[0], func(_ int, v Value) string { return r.str(get(v)) }))
		},
		"indent(s, width=, first=, blank=)":               indent,
		"truncate(s, length=, killwords=, end=, leeway=)": truncateFilter,
		"wordcount(s)":                   wordCount,
		"striptags(value)":               func(r *rendering, a []Value) Value { return r.stripTags(r.str(a[0])) },
		"urlencode(value)":               urlEncode,
		"xmlattr(d, autospace=)":         xmlAttributes,
		"filesizeformat(value, binary=)": fileSize,
		"urlize(value, trim_url_limit=, nofollow=, target=, rel=, extra_schemes=)": urlize,
		"wordwrap(s, width=, break_long_words=, wrapstring=, break_on_hyphens=)":   wordWrap,
	})
}

// callMethod calls a method of a value with positional arguments.
func (r *rendering) callMethod(v Value, name string, args ...Value) Value {
	f := r.attribute(v, name, name)
	return r.call(f, args, nil)
}

// titleFilter makes the first letter of each word upper case: of what follows
// white space, a dash or an opening bracket.
func titleFilter(r *rendering, a []Value) Value {
	s := textOf(r.soft(a[0]))
	r.work(len(s))
	r.hold(3 * len(s))
	var b strings.Builder
	isBreak := func(c rune) bool { return isSpace(c) || strings.ContainsRune("-({[<", c) }
	for s != "" {
		c, n := utf8.DecodeRuneInString(s)
		end := strings.IndexFunc(s, func(c2 rune) bool { return isBreak(c2) != isBreak(c) })
		if end < 0 {
			end = len(s)
		}
		b.WriteString(upper(s[:n]))
		b.WriteString(lower(s[n:end]))
		s = s[end:]
	}
	return str(b.String())
}

func indent(r *rendering, a []Value) Value {
	width := orDefault(a[1], integer(4))
	indention, ok := Text(width)
	if !ok {
		indention = textOf(r.binary("mul", str(" "), width))
	}
	if _, isList := a[0].(*list); isList {
		raise("AttributeError", "'list' object has no attribute 'splitlines'")
	}
	s := textOf(r.binary("add", a[0], str("\n")))
	first := a[2] != nil && r.truth(a[2])
	blank := a[3] != nil && r.truth(a[3])
	lines := r.lines(s, false)
	r.hold(len(s) + times(len(lines), len(indention)))
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i > 0 && (blank || line != "") || i == 0 && first {
			b.WriteString(indention)
		}
		b.WriteString(line)
	}
	if isMarkup(a[0]) {
		return markup(b.String())
	}
	return str(b.String())
}

func truncateFilter(r *rendering, a []Value) Value {
	length, end := orDefault(a[1], integer(255)), orDefault(a[3], str("..."))
	kill := a[2] != nil && r.truth(a[2])
	var leeway Value = integer(5)
	if a[4] != nil && a[4] != None {
		leeway = a[4]
	}
	endLength := integer(r.len(end))
	if !r.order("gteq", length, endLength) {
		raise("AssertionError", "expected length >= %d, got %s", endLength, r.repr(length))
	}
	if !r.order("gteq", leeway, integer(0)) {
		raise("AssertionError", "expected leeway >= 0, got %s", r.repr(leeway))
	}
	if r.order("lteq", integer(r.len(a[0])), r.binary("add", length, leeway)) {
		return a[0]
	}
	cut := r.slice(a[0], None, r.binary("sub", length, endLength), None)
	if kill {
		return r.binary("add", cut, end)
	}
	if _, ok := Text(cut); !ok {
		raise("AttributeError", "'%s' object has no attribute 'rsplit'", cut.typeName())
	}
	words := r.callMethod(cut, "rsplit", str(" "), integer(1)).(*list)
	return r.binary("add", words.items[0], end)
}

func wordCount(r *rendering, a []Value) Value {
	s := textOf(r.soft(a[0]))
	r.work(len(s))
	n, inWord := 0, false
	for _, c := range s {
		is := isWord(c)
		if is && !inWord {
			n++
		}
		inWord = is
	}
	return integer(n)
}

// stripTags removes comments and tags, joins white space and reads entities.
func (r *rendering) stripTags(s string) Value {
	r.work(2 * len(s))
	r.hold(2 * len(s))
	var b strings.Builder
	for {
		start := strings.IndexByte(s, '<')
		if start < 0 {
			break
		}
		var end int
		if strings.HasPrefix(s[start:], "<!--") {
			i := strings.Index(s[start+4:], "-->")
			if i < 0 {
				break
			}
			end = start + 4 + i + 3
		} else {
			i := strings.IndexByte(s[start:], '>')
			if i < 0 {
				break
			}
			end = start + i + 1
		}
		b.WriteString(s[:start])
		s = s[end:]
	}
	b.WriteString(s)
	return r.unescapeHTML(strings.Join(r.fields(b.String(), -1), " "))
}

func (r *rendering) unescapeHTML(s string) Value {
	r.work(len(s))
	return r.text(html.UnescapeString(s))
}

// quoteURL is urllib's quote; in a query, '/' is quoted and a space is '+'.
func (r *rendering) quoteURL(v Value, inQuery bool) string {
	s := r.str(v)
	r.work(len(s))
	r.hold(3 * len(s))
	quoted := strings.ReplaceAll(url.QueryEscape(s), "%7E", "~")
	if !inQuery {
		quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, "+", "%20"), "%2F", "/")
	}
	return quoted
}

func urlEncode(r *rendering, a []Value) Value {
	value := a[0]
	if _, ok := Text(value); ok || r.items(value) == nil {
		return str(r.quoteURL(value, false))
	}
	if d, ok := value.(*dict); ok {
		value = &dictView{d, "items"}
	}
	return str(r.join("&", value, func(_ int, pair Value) string {
		kv := r.unpack(pair, 2)
		return r.quoteURL(kv[0], true) + "=" + r.quoteURL(kv[1], true)
	}))
}

func xmlAttributes(r *rendering, a []Value) Value {
	failIfUndefined(a[0])
	d, ok := a[0].(*dict)
	if !ok {
		raise("AttributeError", "'%s' object has no attribute 'items'", a[0].typeName())
	}
	var b strings.Builder
	for i, v := range d.values {
		if v == None || isUndefined(v) {
			continue
		}
		key, ok := Text(d.keys[i])
		if !ok {
			raise("TypeError", "expected string or bytes-like object, got '%s'", d.keys[i].typeName())
		}
		r.work(len(key))
		if strings.ContainsAny(key, " \t\n\r\f\v/>=") {
			raise("ValueError", "Invalid character in attribute name: %s", reprString(key))
		}
		if b.Len() > 0 || a[1] == nil || r.truth(a[1]) {
			b.WriteByte(' ')
		}
		text := fmt.Sprintf(`%s="%s"`, r.escape(d.keys[i]), r.escape(v))
		r.hold(len(text))
		b.WriteString(text)
	}
	return str(b.String())
}

func fileSize(r *rendering, a []Value) Value {
	size, ok := r.asFloat(a[0])
	if !ok {
		kind := "TypeError"
		if _, isText := Text(a[0]); isText {
			kind = "ValueError"
		}
		raise(kind, "could not convert to float")
	}
	base, suffix := 1000.0, "B"
	if a[1] != nil && r.truth(a[1]) {
		base, suffix = 1024, "iB"
	}
	switch {
	case size == 1:
		return str("1 Byte")
	case size < base:
		return str(r.str(truncate(size)) + " Bytes")
	}
	unit := base
	for i, prefix := range "kMGTPEZY" {
		unit *= base
		if size < unit || i == 7 || size != size {
			letter := string(prefix)
			if suffix == "iB" {
				letter = strings.ToUpper(letter)
			}
			return r.text(fmt.Sprintf("%s %s%s", r.formatFloat(base*size/unit, parseSpec(".1f")), letter, suffix))
		}
	}
	return nil
}
