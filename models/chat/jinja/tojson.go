package jinja

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonFormat is how Python's json.dumps writes.
type jsonFormat struct {
	ascii, sort, indented       bool
	indent                      string
	itemSeparator, keySeparator string
}

// jsonOptions reads the arguments of transformers' filter tojson.
func jsonOptions(r *rendering, ascii, indent, separators, sortKeys Value) jsonFormat {
	f := jsonFormat{ascii: r.given(ascii), sort: r.given(sortKeys), itemSeparator: ", ", keySeparator: ": "}
	if indent != nil && indent != None {
		f.indented = true
		f.itemSeparator = ","
		if s, ok := Text(indent); ok {
			f.indent = s
		} else {
			if !isWhole(indent) {
				raise("TypeError", "can't multiply sequence by non-int of type '%s'", indent.typeName())
			}
			n := max(0, countArg(indent))
			r.hold(n)
			f.indent = strings.Repeat(" ", n)
		}
	}
	if separators != nil && separators != None {
		pair := r.unpack(separators, 2)
		f.itemSeparator, f.keySeparator = r.textArg("separators", pair[0]), r.textArg("separators", pair[1])
	}
	return f
}

type jsonWriter struct {
	printer
	jsonFormat
	depth int
}

// toJSON is json.dumps(v).
func (r *rendering) toJSON(v Value, f jsonFormat) string {
	w := &jsonWriter{printer: printer{r: r}, jsonFormat: f}
	w.value(v)
	return string(w.b)
}

func (w *jsonWriter) value(v Value) {
	switch v := v.(type) {
	case noneType:
		w.write("null")
	case boolean:
		w.write(strconv.FormatBool(bool(v)))
	case integer:
		w.write(strconv.FormatInt(int64(v), 10))
	case bigint:
		w.write(bigText(v.Int))
	case float:
		w.write(jsonFloat(float64(v)))
	case str:
		w.text(string(v))
	case markup:
		w.text(string(v))
	case *list:
		w.list(v.items)
	case *tuple:
		w.list(v.items)
	case *dict:
		w.dict(v)
	default:
		raise("TypeError", "Object of type %s is not JSON serializable", v.typeName())
	}
}

func jsonFloat(f float64) string {
	switch s := floatText(f); s {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	default:
		return s
	}
}

// line begins a new line of an indented text.
func (w *jsonWriter) line() {
	if w.indented {
		w.r.hold(times(w.depth, len(w.indent)))
		w.write("\n" + strings.Repeat(w.indent, w.depth))
	}
}

func (w *jsonWriter) list(items []Value) {
	if len(items) == 0 {
		w.write("[]")
		return
	}
	w.nested("[", "]", len(items), func(i int) { w.value(items[i]) })
}

// nested writes n parts between brackets.
func (w *jsonWriter) nested(open, end string, n int, part func(int)) {
	w.r.enter()
	defer w.r.leave()
	w.write(open)
	w.depth++
	for i := range n {
		if i > 0 {
			w.write(w.itemSeparator)
		}
		w.line()
		part(i)
	}
	w.depth--
	w.line()
	w.write(end)
}

func (w *jsonWriter) dict(d *dict) {
	if len(d.keys) == 0 {
		w.write("{}")
		return
	}
	entries := w.r.collect(&dictView{d, "items"})
	if w.sort {
		entries = w.r.sorted(entries, func(v Value) Value { return v }, false)
	}
	w.nested("{", "}", len(entries), func(i int) {
		entry := entries[i].(*tuple).items
		w.key(entry[0])
		w.write(w.keySeparator)
		w.value(entry[1])
	})
}

func (w *jsonWriter) key(k Value) {
	switch k.(type) {
	case str, markup:
		w.value(k)
	case noneType, boolean, integer, bigint, float:
		w.write(`"`)
		w.value(k)
		w.write(`"`)
	default:
		raise("TypeError", "keys must be str, int, float, bool or None, not %s", k.typeName())
	}
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}

func (w *jsonWriter) text(s string) {
	w.r.work(len(s))
	w.r.hold(len(s))
	w.b = append(w.b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < 0x7f {
			w.b = append(w.b, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		switch escape, ok := jsonEscapes[r]; {
		case ok:
			w.b = append(w.b, escape...)
		case r < ' ', w.ascii && r >= 0x7f && r < 0x10000 && r != 0x7f:
			w.b = append(w.b, `\u`...)
			w.b = append(w.b, hex4(r)...)
		case w.ascii && r >= 0x10000:
			r -= 0x10000
			w.b = append(w.b, `\u`+hex4(0xd800+r>>10)+`\u`+hex4(0xdc00+r&0x3ff)...)
		default:
			w.b = utf8.AppendRune(w.b, r)
		}
	}
	w.b = append(w.b, '"')
	w.charge()
}

func hex4(r rune) string {
	s := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", 4-len(s)) + s
}
