package chat

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
)

// jsonFilter is the name that prepare gives the tojson filter, so that this
// one stands in for the engine's.
const jsonFilter = "python_json"

// toJSON is transformers' tojson: Python's json.dumps with ensure_ascii off
// unless asked for, and with its indent, separators and sort_keys.
func toJSON(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
	if len(args) == 0 || len(args) > 5 {
		return jinja.Undefined(), fmt.Errorf("tojson takes a value and up to 4 arguments, not %d", len(args))
	}
	named := make(map[string]jinja.Value, len(kwargs))
	for i, arg := range args[1:] {
		named[jsonArguments[i]] = arg
	}
	for name, arg := range kwargs {
		if !slices.Contains(jsonArguments, name) {
			return jinja.Undefined(), fmt.Errorf("tojson has no argument %s", name)
		}
		named[name] = arg
	}
	w := jsonWriter{item: ", ", key: ": "}
	w.ascii = named["ensure_ascii"].IsTruthy()
	w.sort = named["sort_keys"].IsTruthy()
	switch indent := named["indent"]; {
	case indent.IsInt():
		w.pretty, w.item = true, ","
		if n := indent.AsInt(); n > 0 && n <= 64 {
			w.indent = strings.Repeat(" ", int(n))
		}
	case indent.IsString():
		w.pretty, w.item, w.indent = true, ",", indent.AsString()
	}
	if pair := named["separators"]; pair.IsList() && pair.AsList().Len() == 2 {
		w.item, w.key = text(pair.AsList().Get(0)), text(pair.AsList().Get(1))
	}
	if err := w.write(args[0], 0); err != nil {
		return jinja.Undefined(), err
	}
	return jinja.NewString(w.String()), nil
}

var jsonArguments = []string{"ensure_ascii", "indent", "separators", "sort_keys"}

// A jsonWriter writes JSON as Python does.
type jsonWriter struct {
	strings.Builder
	item, key   string // separators
	indent      string
	pretty      bool
	ascii, sort bool
}

func (w *jsonWriter) write(v jinja.Value, depth int) error {
	switch {
	case v.IsNone():
		w.WriteString("null")
	case v.IsBool():
		w.WriteString(strconv.FormatBool(v.AsBool()))
	case v.IsInt():
		w.WriteString(strconv.FormatInt(v.AsInt(), 10))
	case v.IsFloat():
		w.WriteString(pythonFloat(v.AsFloat()))
	case v.IsString():
		w.quote(v.AsString())
	case v.IsList():
		items := v.AsList().Items
		return w.sequence('[', ']', len(items), depth, func(i int) error { return w.write(items[i], depth+1) })
	case v.IsDict():
		dict := v.AsDict()
		keys := dict.OrderedKeys()
		if w.sort {
			keys = slices.Sorted(slices.Values(keys))
		}
		return w.sequence('{', '}', len(keys), depth, func(i int) error {
			w.quote(keys[i])
			w.WriteString(w.key)
			value, _ := dict.Get(keys[i])
			return w.write(value, depth+1)
		})
	case v.IsUndefined():
		return fmt.Errorf("tojson of an undefined value")
	default:
		return fmt.Errorf("tojson of %s", v.String())
	}
	return nil
}

func (w *jsonWriter) sequence(open, end byte, n, depth int, item func(int) error) error {
	w.WriteByte(open)
	for i := range n {
		if i > 0 {
			w.WriteString(w.item)
		}
		w.line(depth + 1)
		if err := item(i); err != nil {
			return err
		}
	}
	if n > 0 {
		w.line(depth)
	}
	w.WriteByte(end)
	return nil
}

// line begins a new line if the output is indented.
func (w *jsonWriter) line(depth int) {
	if !w.pretty {
		return
	}
	w.WriteByte('\n')
	for range depth {
		w.WriteString(w.indent)
	}
}

func (w *jsonWriter) quote(s string) {
	w.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.WriteByte('\\')
			w.WriteRune(r)
		case r == '\n':
			w.WriteString(`\n`)
		case r == '\r':
			w.WriteString(`\r`)
		case r == '\t':
			w.WriteString(`\t`)
		case r == '\b':
			w.WriteString(`\b`)
		case r == '\f':
			w.WriteString(`\f`)
		case r < ' ' || w.ascii && r > '~' && r < 0x10000:
			_, _ = fmt.Fprintf(w, `\u%04x`, r)
		case w.ascii && r >= utf8.RuneSelf:
			r -= 0x10000
			_, _ = fmt.Fprintf(w, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			w.WriteRune(r)
		}
	}
	w.WriteByte('"')
}

// pythonFloat is Python's repr of a float, and its names for what JSON lacks.
func pythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if size := math.Abs(f); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
