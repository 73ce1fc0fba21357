package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// What stands between the parts of JSON: one blank after a comma and a colon, as
// Python's json.dumps writes it.
const (
	comma = ", "
	colon = ": "
)

// object is a JSON object whose members are in the order in which they are
// written. Other values are those of encoding/json, with json.Number.
type object []member

type member struct {
	name  string
	value any
}

func (o object) get(name string) (any, bool) {
	for _, m := range o {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

func (o object) has(name string) bool {
	_, ok := o.get(name)
	return ok
}

// maxDepth is how deep a schema's values may nest.
const maxDepth = 100

// parseJSON reads one value.
func parseJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o, names := object{}, map[string]bool{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			if names[name.(string)] {
				return nil, fmt.Errorf("the key %q stands twice in one object", name)
			}
			names[name.(string)] = true
			o = append(o, member{name.(string), v})
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		a := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		_, err = d.Token()
		return a, err
	}
	return t, nil
}

// canonical writes a value as answers have it: members as they stand, the
// shortest escapes.
func canonical(v any) string {
	switch v := v.(type) {
	case object:
		parts := make([]string, len(v))
		for i, m := range v {
			parts[i] = quote(m.name) + colon + canonical(m.value)
		}
		return "{" + strings.Join(parts, comma) + "}"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = canonical(e)
		}
		return "[" + strings.Join(parts, comma) + "]"
	case string:
		return quote(v)
	case json.Number:
		return plain(v)
	case bool:
		return strconv.FormatBool(v)
	}
	return "null"
}

// plain is a number without an exponent, and without zeros that say nothing.
func plain(n json.Number) string {
	r, err := rational(n, "")
	if err != nil {
		return n.String() // refused where it is read
	}
	places, _ := r.FloatPrec()
	return r.FloatString(places)
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		b.WriteString(escape(r))
	}
	b.WriteByte('"')
	return b.String()
}

// escape is a code point inside of a string.
func escape(r rune) string {
	switch r {
	case '"', '\\':
		return `\` + string(r)
	case '\b':
		return `\b`
	case '\f':
		return `\f`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if r < ' ' {
		return fmt.Sprintf(`\u%04x`, r)
	}
	return string(r)
}

// quoted is an expression over code points, of runes and texts, as it stands in a
// string: each has one spelling.
func quoted(e expr) expr {
	switch e := e.(type) {
	case text:
		q := quote(string(e))
		return text(q[1 : len(q)-1])
	case runes:
		return quotedRunes(e)
	case sequence:
		return sequence(quotedAll(e))
	case choice:
		return choice(quotedAll(e))
	case repeat:
		return repeat{quoted(e.of), e.min, e.max}
	}
	return e
}

func quotedAll(all []expr) (parts []expr) {
	for _, e := range all {
		parts = append(parts, quoted(e))
	}
	return parts
}

// quotedRunes keeps what escapes have in common together.
func quotedRunes(class runes) expr {
	var plain, short runes
	var low [2]runes // the last digit of \u000x and \u001x
	for _, part := range class {
		from := part.lo
		for _, special := range specials {
			if special < part.lo || special > part.hi {
				continue
			}
			if e := escape(special); len(e) == 2 {
				short = append(short, runeRange{rune(e[1]), rune(e[1])})
			} else {
				digit := rune(e[5])
				low[special>>4] = append(low[special>>4], runeRange{digit, digit})
			}
			if special > from {
				plain = append(plain, runeRange{from, special - 1})
			}
			from = special + 1
		}
		if from <= part.hi {
			plain = append(plain, runeRange{from, part.hi})
		}
	}
	escaped := choice{short}
	for i, digits := range low {
		if len(digits) > 0 {
			escaped = append(escaped, sequence{text("u00" + string(rune('0'+i))), digits})
		}
	}
	if len(short) == 0 && len(escaped) == 1 {
		return plain
	}
	return choice{sequence{text(`\`), escaped}, plain}
}

// specials are the code points that are escaped, in order.
var specials = func() (all []rune) {
	for r := range ' ' {
		all = append(all, r)
	}
	return append(all, '"', '\\')
}()
