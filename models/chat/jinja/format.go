package jinja

import (
	"strconv"
	"strings"
)

// format is str.format as the sandbox does it (string.Formatter.vformat). With
// escape it is that of Markup.
func (r *rendering) format(s string, args []Value, kwargs *dict, escape func(Value) markup) string {
	f := &formatter{r: r, args: args, kwargs: kwargs, escape: escape}
	return f.run(s, 2)
}

type formatter struct {
	r      *rendering
	args   []Value
	kwargs *dict
	escape func(Value) markup
	// auto is the number of the next "{}"; manual is set after a "{0}".
	auto   int
	manual bool
}

func (f *formatter) run(s string, depth int) string {
	if depth < 0 {
		raise("ValueError", "Max string recursion exceeded")
	}
	f.r.work(len(s))
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			i = len(s)
		}
		f.r.hold(i)
		b.WriteString(s[:i])
		s = s[i:]
		switch {
		case s == "":
		case strings.HasPrefix(s, "{{"), strings.HasPrefix(s, "}}"):
			b.WriteByte(s[0])
			s = s[2:]
		case s[0] == '}':
			raise("ValueError", "Single '}' encountered in format string")
		default:
			end := fieldEnd(s)
			text := f.field(s[1:end], depth)
			f.r.hold(len(text))
			b.WriteString(text)
			s = s[end+1:]
		}
	}
	return b.String()
}

// fieldEnd is the place of the '}' that ends the field that s begins with.
func fieldEnd(s string) int {
	if len(s) == 1 {
		raise("ValueError", "Single '{' encountered in format string")
	}
	open, inIndex := 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '[' && open == 1:
			inIndex = true
		case c == ']':
			inIndex = false
		case inIndex:
		case c == '{':
			open++
		case c == '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	raise("ValueError", "expected '}' before end of string")
	return 0
}

// field formats the field name[!conversion][:spec].
func (f *formatter) field(s string, depth int) string {
	name, conversion, spec := s, "", ""
	inIndex := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '[':
			inIndex = true
		case c == ']':
			inIndex = false
		case inIndex:
		case c == '{':
			raise("ValueError", "unexpected '{' in field name")
		case c == '!' || c == ':':
			name, spec = s[:i], s[i+1:]
			if c == '!' {
				conversion, spec = f.conversion(spec)
			}
			return f.value(name, conversion, spec, depth)
		}
	}
	return f.value(name, conversion, spec, depth)
}

func (f *formatter) conversion(s string) (conversion, spec string) {
	if s == "" {
		raise("ValueError", "end of string while looking for conversion specifier")
	}
	rest := s[1:]
	if rest != "" && rest[0] != ':' {
		raise("ValueError", "expected ':' after conversion specifier")
	}
	return s[:1], strings.TrimPrefix(rest, ":")
}

func (f *formatter) value(name, conversion, spec string, depth int) string {
	v := f.lookup(f.numbered(name))
	switch conversion {
	case "":
	case "r":
		v = str(f.r.repr(v))
	case "s":
		v = str(f.r.str(v))
	case "a":
		v = str(asciiOnly(f.r.repr(v)))
	default:
		raise("ValueError", "Unknown conversion specifier %s", conversion)
	}
	spec = f.run(spec, depth-1)
	if f.escape == nil {
		return f.r.formatValue(v, spec)
	}
	if isMarkup(v) {
		if spec != "" {
			raise("ValueError", "Unsupported format specification for Markup.")
		}
		return textOf(v)
	}
	return string(f.escape(str(f.r.formatValue(v, spec))))
}

// numbered gives "{}" its number.
func (f *formatter) numbered(name string) string {
	if name == "" {
		if f.manual {
			raise("ValueError", "cannot switch from manual field specification to automatic field numbering")
		}
		f.auto++
		return strconv.Itoa(f.auto - 1)
	}
	if strings.Trim(name, "0123456789") == "" {
		if f.auto > 0 {
			raise("ValueError", "cannot switch from manual field specification to automatic field numbering")
		}
		f.manual = true
	}
	return name
}

// lookup finds the value of a field's name: an argument, then attributes and
// items of it.
func (f *formatter) lookup(name string) Value {
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	first, rest := name[:end], name[end:]
	v := f.argument(first)
	for rest != "" {
		if rest[0] == '.' {
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			attr := rest[1:end]
			rest = rest[end:]
			if attr == "" {
				raise("ValueError", "Empty attribute in format string")
			}
			v = f.r.attribute(v, attr, attr)
			continue
		}
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			raise("ValueError", "Missing ']' in format string")
		}
		key := rest[1:end]
		rest = rest[end+1:]
		if key == "" {
			raise("ValueError", "Empty attribute in format string")
		}
		if rest != "" && rest[0] != '.' && rest[0] != '[' {
			raise("ValueError", "Only '.' or '[' may follow ']' in format field specifier")
		}
		v = f.r.item(v, fieldIndex(key))
	}
	return v
}

// fieldIndex is a number where the text has only digits.
func fieldIndex(s string) Value {
	if n, err := strconv.Atoi(s); err == nil && strings.Trim(s, "0123456789") == "" {
		return integer(n)
	}
	return str(s)
}

func (f *formatter) argument(name string) Value {
	if n, ok := fieldIndex(name).(integer); ok && name != "" {
		if int(n) >= len(f.args) {
			raise("IndexError", "Replacement index %d out of range for positional args tuple", n)
		}
		return f.args[n]
	}
	v, ok := f.kwargs.get(name)
	if !ok {
		raise("KeyError", "%s", reprString(name))
	}
	return v
}

// asciiOnly escapes what is not ASCII as Python's ascii does.
func asciiOnly(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			b.WriteString(asciiEscape(r))
		}
	}
	return b.String()
}
