package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// stringMethods are the methods of str that templates reach.
var stringMethods map[string]*routine

func makeStringMethods() {
	classes := func(is func(rune) bool) func(*rendering, []Value) Value {
		return func(r *rendering, a []Value) Value { return boolean(all(r.worked(a[0]), is)) }
	}
	mapped := func(f func(string) string) func(*rendering, []Value) Value {
		return func(r *rendering, a []Value) Value {
			s := r.worked(a[0])
			r.hold(2 * len(s))
			return str(f(s))
		}
	}
	stringMethods = routines(map[string]func(r *rendering, a []Value) Value{
		"capitalize(self, /)":   mapped(capitalize),
		"casefold(self, /)":     mapped(casefold),
		"lower(self, /)":        mapped(lower),
		"upper(self, /)":        mapped(upper),
		"title(self, /)":        mapped(titlecase),
		"swapcase(self, /)":     mapped(swapcase),
		"isalnum(self, /)":      classes(isAlphanumeric),
		"isalpha(self, /)":      classes(unicode.IsLetter),
		"isdecimal(self, /)":    classes(isDecimal),
		"isdigit(self, /)":      classes(isDigit),
		"isnumeric(self, /)":    classes(isNumeric),
		"isspace(self, /)":      classes(isSpace),
		"isascii(self, /)":      func(r *rendering, a []Value) Value { return boolean(isASCII(r.worked(a[0]))) },
		"isidentifier(self, /)": func(r *rendering, a []Value) Value { return boolean(isIdentifier(r.worked(a[0]))) },
		"islower(self, /)":      func(r *rendering, a []Value) Value { return boolean(hasCase(r.worked(a[0]), isLowercase)) },
		"isupper(self, /)":      func(r *rendering, a []Value) Value { return boolean(hasCase(r.worked(a[0]), isUppercase)) },
		"istitle(self, /)":      func(r *rendering, a []Value) Value { return boolean(isTitle(r.worked(a[0]))) },
		"isprintable(self, /)": func(r *rendering, a []Value) Value {
			s := r.worked(a[0])
			return boolean(s == "" || all(s, isPrintable))
		},
		"count(self, sub, start=, end=, /)":  stringCount,
		"find(self, sub, start=, end=, /)":   func(r *rendering, a []Value) Value { return integer(r.find(a, strings.Index)) },
		"rfind(self, sub, start=, end=, /)":  func(r *rendering, a []Value) Value { return integer(r.find(a, strings.LastIndex)) },
		"index(self, sub, start=, end=, /)":  func(r *rendering, a []Value) Value { return found(r.find(a, strings.Index)) },
		"rindex(self, sub, start=, end=, /)": func(r *rendering, a []Value) Value { return found(r.find(a, strings.LastIndex)) },
		"startswith(self, prefix, start=, end=, /)": func(r *rendering, a []Value) Value {
			return boolean(r.affix(a, "startswith", strings.HasPrefix))
		},
		"endswith(self, suffix, start=, end=, /)": func(r *rendering, a []Value) Value {
			return boolean(r.affix(a, "endswith", strings.HasSuffix))
		},
		"removeprefix(self, prefix, /)": func(r *rendering, a []Value) Value {
			return r.text(strings.TrimPrefix(textOf(a[0]), r.textArg("removeprefix", a[1])))
		},
		"removesuffix(self, suffix, /)": func(r *rendering, a []Value) Value {
			return r.text(strings.TrimSuffix(textOf(a[0]), r.textArg("removesuffix", a[1])))
		},
		"strip(self, chars=, /)":  func(r *rendering, a []Value) Value { return r.strip(a, strings.TrimFunc) },
		"lstrip(self, chars=, /)": func(r *rendering, a []Value) Value { return r.strip(a, strings.TrimLeftFunc) },
		"rstrip(self, chars=, /)": func(r *rendering, a []Value) Value { return r.strip(a, strings.TrimRightFunc) },
		"center(self, width, fillchar=, /)": func(r *rendering, a []Value) Value {
			return r.pad(a, func(pad, width int) int { return pad/2 + (pad & width & 1) })
		},
		"ljust(self, width, fillchar=, /)": func(r *rendering, a []Value) Value { return r.pad(a, func(int, int) int { return 0 }) },
		"rjust(self, width, fillchar=, /)": func(r *rendering, a []Value) Value { return r.pad(a, func(pad, _ int) int { return pad }) },
		"zfill(self, width, /)":            zfill,
		"expandtabs(self, tabsize=)":       expandTabs,
		"replace(self, old, new, count=, /)": func(r *rendering, a []Value) Value {
			return str(r.replace(textOf(a[0]), r.textArg("replace", a[1]), r.textArg("replace", a[2]), optionalCount(a[3])))
		},
		"split(self, sep=, maxsplit=)":  func(r *rendering, a []Value) Value { return r.split(a, false) },
		"rsplit(self, sep=, maxsplit=)": func(r *rendering, a []Value) Value { return r.split(a, true) },
		"splitlines(self, keepends=)": func(r *rendering, a []Value) Value {
			return r.textList(r.lines(textOf(a[0]), a[1] != nil && r.truth(a[1])))
		},
		"partition(self, sep, /)": func(r *rendering, a []Value) Value {
			s, sep := textOf(a[0]), r.separator("partition", a[1])
			if before, after, ok := strings.Cut(s, sep); ok {
				return r.texts(before, sep, after)
			}
			return r.texts(s, "", "")
		},
		"rpartition(self, sep, /)": func(r *rendering, a []Value) Value {
			s, sep := textOf(a[0]), r.separator("rpartition", a[1])
			if i := strings.LastIndex(s, sep); i >= 0 {
				return r.texts(s[:i], sep, s[i+len(sep):])
			}
			return r.texts("", "", s)
		},
		"join(self, iterable, /)": func(r *rendering, a []Value) Value {
			return str(r.join(textOf(a[0]), a[1], func(i int, v Value) string {
				s, ok := Text(v)
				if !ok {
					raise("TypeError", "sequence item %d: expected str instance, %s found", i, v.typeName())
				}
				return s
			}))
		},
		"format(*args, **kwargs)": func(r *rendering, a []Value) Value {
			all := a[0].(*tuple).items
			return str(r.format(textOf(all[0]), all[1:], a[1].(*dict), nil))
		},
		"format_map(self, mapping)": func(r *rendering, a []Value) Value {
			failIfUndefined(a[1])
			d, ok := a[1].(*dict)
			if !ok {
				raise("TypeError", "format_map() of a %s", a[1].typeName())
			}
			return str(r.format(textOf(a[0]), nil, d, nil))
		},
		"encode(self, encoding=, errors=)": func(r *rendering, a []Value) Value {
			for i, usual := range []string{"utf-8", "strict"} {
				if v := a[1+i]; v != nil && strings.ReplaceAll(strings.ToLower(r.textArg("encode", v)), "_", "-") != usual {
					raise("NotImplementedError", "encode(%s)", reprString(textOf(v)))
				}
			}
			r.hold(len(textOf(a[0])))
			return bytesValue(textOf(a[0]))
		},
		"translate(self, table, /)": translate,
		"maketrans(self, x, y=, z=, /)": func(*rendering, []Value) Value {
			raise("NotImplementedError", "str.maketrans")
			return nil
		},
	})
}

func isPrintable(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r)
}

// textArg is a string that was given as an argument.
func (r *rendering) textArg(function string, v Value) string {
	s, ok := Text(v)
	if !ok {
		raise("TypeError", "%s() argument must be str, not %s", function, v.typeName())
	}
	r.scan(len(s))
	return s
}

func (r *rendering) separator(function string, v Value) string {
	s := r.textArg(function, v)
	if s == "" {
		raise("ValueError", "empty separator")
	}
	return s
}

// optionalCount is a count that defaults to -1: no bound.
func optionalCount(v Value) int {
	if v == nil {
		return -1
	}
	return countArg(v)
}

// texts makes a tuple of strings.
func (r *rendering) texts(parts ...string) Value {
	t := &tuple{}
	r.holdItems(len(parts))
	for _, p := range parts {
		r.scan(len(p))
		t.items = append(t.items, str(p))
	}
	return t
}

// textList makes a list of strings.
func (r *rendering) textList(parts []string) Value {
	r.holdItems(2 * len(parts))
	l := &list{make([]Value, len(parts))}
	for i, p := range parts {
		l.items[i] = str(p)
	}
	return l
}

func found(i int) Value {
	if i < 0 {
		raise("ValueError", "substring not found")
	}
	return integer(i)
}

// window is the part of the string a[0] between the places a[2] and a[3], and
// how many characters lie before it. ok is false where it begins beyond the end.
func (r *rendering) window(a []Value) (s string, before int, ok bool) {
	s = textOf(a[0])
	r.scan(len(s))
	if a[2] == nil && a[3] == nil {
		return s, 0, true
	}
	start, end := a[2], a[3]
	if start == nil {
		start = None
	}
	if end == nil {
		end = None
	}
	n := utf8.RuneCountInString(s)
	from, to, _ := sliceBounds(n, start, end, None)
	if start != None && sliceIndex(start) > n || from > to {
		return "", 0, false
	}
	at := runeOffset(s, from)
	return s[at : at+runeOffset(s[at:], to-from)], from, true
}

func (r *rendering) find(a []Value, search func(s, sub string) int) int {
	sub := r.textArg("find", a[1])
	s, before, ok := r.window(a)
	if !ok {
		return -1
	}
	i := search(s, sub)
	if i < 0 {
		return -1
	}
	return before + utf8.RuneCountInString(s[:i])
}

func stringCount(r *rendering, a []Value) Value {
	sub := r.textArg("count", a[1])
	s, _, ok := r.window(a)
	if !ok {
		return integer(0)
	}
	return integer(strings.Count(s, sub))
}

// affix is startswith and endswith: of one string, or of any in a tuple.
func (r *rendering) affix(a []Value, function string, has func(s, affix string) bool) bool {
	s, _, ok := r.window(a)
	options := []Value{a[1]}
	if t, isTuple := a[1].(*tuple); isTuple {
		options = t.items
	}
	for _, o := range options {
		affix, isText := Text(o)
		if !isText {
			raise("TypeError", "%s first arg must be str or a tuple of str, not %s", function, o.typeName())
		}
		r.step(1)
		r.scan(len(affix))
		if ok && has(s, affix) {
			return true
		}
	}
	return false
}

// strip trims white space, or the characters a[1].
func (r *rendering) strip(a []Value, trim func(string, func(rune) bool) string) Value {
	s := textOf(a[0])
	r.scan(len(s))
	if a[1] == nil || a[1] == None {
		return r.text(trim(s, isSpace))
	}
	chars := r.textArg("strip", a[1])
	r.step(times(len(chars), len(s)) / 64)
	return r.text(trim(s, func(c rune) bool { return strings.ContainsRune(chars, c) }))
}

// pad fills a string up to a width; left says how much of it goes in front.
func (r *rendering) pad(a []Value, left func(pad, width int) int) Value {
	s, width := textOf(a[0]), countArg(a[1])
	fill := " "
	if a[2] != nil {
		fill = r.textArg("The fill character", a[2])
		if utf8.RuneCountInString(fill) != 1 {
			raise("TypeError", "The fill character must be exactly one character long")
		}
	}
	n := r.len(a[0])
	if width <= n {
		return r.text(s)
	}
	pad := width - n
	r.hold(len(s) + times(pad, len(fill)))
	before := left(pad, width)
	return str(strings.Repeat(fill, before) + s + strings.Repeat(fill, pad-before))
}

func zfill(r *rendering, a []Value) Value {
	s, width := textOf(a[0]), countArg(a[1])
	n := r.len(a[0])
	if width <= n {
		return r.text(s)
	}
	r.hold(len(s) + width - n)
	zeros := strings.Repeat("0", width-n)
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return str(s[:1] + zeros + s[1:])
	}
	return str(zeros + s)
}

func expandTabs(r *rendering, a []Value) Value {
	s, size := textOf(a[0]), 8
	if a[1] != nil {
		size = countArg(a[1])
	}
	r.work(len(s))
	r.hold(len(s))
	var b strings.Builder
	column := 0
	for _, c := range s {
		switch c {
		case '\t':
			if size > 0 {
				n := size - column%size
				r.hold(n)
				b.WriteString(strings.Repeat(" ", n))
				column += n
			}
			continue
		case '\n', '\r':
			column = 0
		default:
			column++
		}
		b.WriteRune(c)
	}
	return str(b.String())
}

// replace is str.replace; a negative count has no bound.
func (r *rendering) replace(s, old, new string, count int) string {
	r.scan(len(s) + len(old))
	n := strings.Count(s, old)
	if old == "" {
		n = utf8.RuneCountInString(s) + 1
	}
	if count >= 0 {
		n = min(n, count)
	}
	if n == 0 {
		return s
	}
	r.step(n)
	r.hold(len(s) + times(n, len(new)))
	return strings.Replace(s, old, new, n)
}

// split is str.split and, from the right, str.rsplit.
func (r *rendering) split(a []Value, right bool) Value {
	s, limit := textOf(a[0]), optionalCount(a[2])
	r.scan(len(s))
	if a[1] == nil || a[1] == None {
		r.work(len(s))
		if right {
			return r.textList(r.fieldsRight(s, limit))
		}
		return r.textList(r.fields(s, limit))
	}
	sep := r.separator("split", a[1])
	n := strings.Count(s, sep)
	if limit >= 0 {
		n = min(n, limit)
	}
	r.holdItems(n)
	if !right {
		return r.textList(strings.SplitN(s, sep, n+1))
	}
	parts := make([]string, n+1)
	for i := n; i > 0; i-- {
		at := strings.LastIndex(s, sep)
		parts[i] = s[at+len(sep):]
		s = s[:at]
	}
	parts[0] = s
	return r.textList(parts)
}

// fields splits at white space, at most so many times if limit is not negative.
func (r *rendering) fields(s string, limit int) []string {
	var parts []string
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; {
		end := strings.IndexFunc(s, isSpace)
		if end < 0 || limit >= 0 && len(parts) == limit {
			return append(parts, s)
		}
		r.hold(itemSize)
		parts = append(parts, s[:end])
		s = strings.TrimLeftFunc(s[end:], isSpace)
	}
	return parts
}

func (r *rendering) fieldsRight(s string, limit int) []string {
	var parts []string
	for s = strings.TrimRightFunc(s, isSpace); s != ""; {
		at := strings.LastIndexFunc(s, isSpace)
		if at < 0 || limit >= 0 && len(parts) == limit {
			parts = append(parts, s)
			break
		}
		_, n := utf8.DecodeRuneInString(s[at:])
		r.hold(itemSize)
		parts = append(parts, s[at+n:])
		s = strings.TrimRightFunc(s[:at], isSpace)
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return parts
}

// lines is str.splitlines.
func (r *rendering) lines(s string, keepEnds bool) []string {
	r.work(len(s))
	var parts []string
	for s != "" {
		end := strings.IndexFunc(s, isLineEnd)
		if end < 0 {
			return append(parts, s)
		}
		_, n := utf8.DecodeRuneInString(s[end:])
		if strings.HasPrefix(s[end:], "\r\n") {
			n = 2
		}
		r.hold(itemSize)
		if keepEnds {
			parts = append(parts, s[:end+n])
		} else {
			parts = append(parts, s[:end])
		}
		s = s[end+n:]
	}
	return parts
}

// join joins the texts of all items of v.
func (r *rendering) join(separator string, v Value, text func(int, Value) string) string {
	var b strings.Builder
	n := r.iterate(v)
	for i := 0; ; i++ {
		item, ok := n()
		if !ok {
			return b.String()
		}
		if i > 0 {
			r.hold(len(separator))
			b.WriteString(separator)
		}
		s := text(i, item)
		r.hold(len(s))
		b.WriteString(s)
	}
}

// translate is str.translate with a dictionary.
func translate(r *rendering, a []Value) Value {
	failIfUndefined(a[1])
	table, ok := a[1].(*dict)
	if !ok {
		raise("NotImplementedError", "str.translate with a %s", a[1].typeName())
	}
	s := r.worked(a[0])
	var b strings.Builder
	for _, c := range s {
		v, ok := table.get(int64(c))
		out := string(c)
		switch code, isCode := small(orNone(v)); {
		case !ok:
		case v == None:
			out = ""
		case isCode:
			if !utf8.ValidRune(rune(code)) || code > unicode.MaxRune {
				raise("ValueError", "character mapping must be in range(0x110000)")
			}
			out = string(rune(code))
		default:
			if out, ok = Text(v); !ok {
				raise("TypeError", "character mapping must return integer, None or str")
			}
		}
		r.hold(len(out))
		b.WriteString(out)
	}
	return str(b.String())
}

// orNone is v, or None where it was not given.
func orNone(v Value) Value {
	if v == nil {
		return None
	}
	return v
}
