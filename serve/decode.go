package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/internal/spelling"
)

// A fieldError is a request body that cannot be taken: Path is the JSON path
// of the field at fault, "messages[1].role", and empty for the whole body.
type fieldError struct {
	Path   string
	Reason string
}

func (e *fieldError) Error() string {
	if e.Path == "" {
		return "the request body " + e.Reason
	}
	return e.Path + " " + e.Reason
}

// A fieldDecoder reads a field that JSON allows to be of several types.
type fieldDecoder interface {
	decodeField(path string, raw json.RawMessage) error
}

// unimplemented is a field that the dialect knows and this server does not
// implement. Its `only` tag lists the JSON values, separated by "|", that mean
// the same as leaving it out; null always does.
type unimplemented struct{}

// ignored is a field that has no bearing on the answer: any value is taken.
type ignored struct{}

// An openObject takes members that it has no field for, since somebody else may
// read them.
type openObject interface {
	addUnread(u unread)
	left() unreads
}

// unread is a member of an object that nobody has read yet.
type unread struct {
	path, key string
	fields    []field // of the object, one of which may have been meant
}

// unreads are what an open object keeps of them.
type unreads []unread

func (u *unreads) addUnread(member unread) { *u = append(*u, member) }

func (u unreads) left() unreads { return u }

// meant names the member that a missing field may stand in, misspelt.
func (u unreads) meant(field string) string {
	for _, member := range u {
		if spelling.Nearest(member.key, slices.Values([]string{field})) != "" {
			return "; is " + member.key + " meant to be it?"
		}
	}
	return ""
}

// decode reads a JSON object strictly into the struct that v points to: a
// field that v does not name, a repeated field, a wrong type and a number that
// does not fit are errors that name the field.
func decode(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return &fieldError{"", "is empty: send a JSON object"}
	}
	if !utf8.Valid(body) {
		return &fieldError{"", fmt.Sprintf("is not valid UTF-8 at byte %d", validPrefix(body))}
	}
	if !json.Valid(body) {
		return &fieldError{"", "is not valid JSON: " + syntaxFault(body)}
	}
	return decodeValue("", bytes.TrimSpace(body), reflect.ValueOf(v).Elem())
}

func syntaxFault(body []byte) string {
	var v json.RawMessage
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&v); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return "it ends too early"
		}
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Sprintf("%s (at byte %d)", syntax, syntax.Offset)
		}
		return err.Error()
	}
	return fmt.Sprintf("something follows the object at byte %d", d.InputOffset())
}

func decodeValue(path string, raw json.RawMessage, v reflect.Value) error {
	if d, ok := v.Addr().Interface().(fieldDecoder); ok {
		return d.decodeField(path, raw)
	}
	switch v.Interface().(type) {
	case ignored:
		return nil
	case json.RawMessage:
		v.SetBytes(bytes.Clone(raw))
		return nil
	}
	null := string(raw) == "null"
	switch v.Kind() {
	case reflect.Pointer:
		if null {
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return decodeValue(path, raw, v.Elem())
	case reflect.Struct:
		if null && path != "" {
			return nil
		}
		return decodeObject(path, raw, v)
	case reflect.Slice:
		if null {
			return nil
		}
		return decodeArray(path, raw, v)
	case reflect.Map:
		if null {
			return nil
		}
		return decodeMap(path, raw, v)
	case reflect.String:
		return decodeScalar(path, raw, '"', "a string", func(s string) string {
			text, ok := decodeString(raw)
			if !ok {
				return "is not a valid string: it escapes half of a character"
			}
			v.SetString(text)
			return ""
		})
	case reflect.Bool:
		if s := string(raw); s == "true" || s == "false" {
			v.SetBool(s == "true")
			return nil
		}
		return wrongType(path, raw, "true or false")
	case reflect.Int, reflect.Int32, reflect.Int64:
		return decodeScalar(path, raw, '0', "a whole number", func(s string) string {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				if f, ferr := strconv.ParseFloat(s, 64); ferr == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
					n, err = int64(f), nil
				}
			}
			if err != nil {
				return "wants a whole number, not " + s
			}
			if v.OverflowInt(n) {
				return "is out of range: " + s
			}
			v.SetInt(n)
			return ""
		})
	case reflect.Float32, reflect.Float64:
		return decodeScalar(path, raw, '0', "a number", func(s string) string {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil || v.OverflowFloat(f) {
				return "is out of range: " + s
			}
			v.SetFloat(f)
			return ""
		})
	}
	panic("serve: no decoding of " + v.Type().String())
}

// decodeScalar hands the text of a value of the wanted class, '"' or '0', to
// set, which returns what is wrong with it.
func decodeScalar(path string, raw json.RawMessage, class byte, want string, set func(string) string) error {
	if classOf(raw) != class {
		return wrongType(path, raw, want)
	}
	if fault := set(string(raw)); fault != "" {
		return &fieldError{path, fault}
	}
	return nil
}

// decodeString reads a JSON string. One with an escape such as \ud800 that is
// half of a pair stands for no text: json would put U+FFFD in its place.
func decodeString(raw json.RawMessage) (text string, ok bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	if json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	if !strings.ContainsRune(text, utf8.RuneError) {
		return text, true
	}
	for rest := string(raw); ; {
		at := strings.IndexByte(rest, '\\')
		if at < 0 {
			return text, true
		}
		rest = rest[at:]
		if rest[1] != 'u' {
			rest = rest[2:]
			continue
		}
		r := escapedRune(rest)
		if rest = rest[6:]; utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, escapedRune(rest)) == utf8.RuneError {
				return "", false
			}
			rest = rest[6:]
		}
	}
}

// escapedRune is the rune that s begins with as \uXXXX, -1 if it does not.
func escapedRune(s string) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// validPrefix is how many bytes of b are UTF-8.
func validPrefix(b []byte) int {
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		n += size
	}
	return n
}

func decodeObject(path string, raw json.RawMessage, v reflect.Value) error {
	if classOf(raw) != '{' {
		return wrongType(path, raw, "an object")
	}
	if err := few(path, raw); err != nil {
		return err
	}
	fields := fieldsOf(v.Type())
	seen := make(map[string]bool, len(fields))
	return eachMember(raw, func(key string, value json.RawMessage) error {
		at := join(path, key)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if seen[key] {
			return &fieldError{at, "is given twice"}
		}
		seen[key] = true
		if i < 0 {
			if open, ok := v.Addr().Interface().(openObject); ok {
				open.addUnread(unread{at, key, fields})
				return nil
			}
			return unknownField(unread{at, key, fields})
		}
		f := fields[i]
		if f.unimplemented {
			if s := compact(value); s != "null" && !slices.Contains(f.only, s) {
				return fieldFailure(at, "unsupported_parameter", "is not implemented: leave it out"+orSend(f.only))
			}
			return nil
		}
		return decodeValue(at, value, v.FieldByIndex(f.index))
	})
}

func decodeArray(path string, raw json.RawMessage, v reflect.Value) error {
	if classOf(raw) != '[' {
		return wrongType(path, raw, "an array")
	}
	if err := few(path, raw); err != nil && v.Type().Elem().Kind() != reflect.Int32 { // tokens are counted by who knows the context
		return err
	}
	n := counted(raw)
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i, e := range elements(raw) {
		if decodeToken(e, v.Index(i)) {
			continue
		}
		if err := decodeValue(fmt.Sprintf("%s[%d]", path, i), e, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// decodeToken reads the number of a token, of which an array may have very many,
// where it is written plainly.
func decodeToken(raw json.RawMessage, v reflect.Value) bool {
	if v.Kind() != reflect.Int32 || len(raw) > 9 {
		return false
	}
	n := int64(0)
	for _, c := range raw {
		if c < '0' || c > '9' {
			return false
		}
		n = 10*n + int64(c-'0')
	}
	v.SetInt(n)
	return true
}

func decodeMap(path string, raw json.RawMessage, v reflect.Value) error {
	if classOf(raw) != '{' {
		return wrongType(path, raw, "an object")
	}
	if err := few(path, raw); err != nil {
		return err
	}
	v.Set(reflect.MakeMap(v.Type()))
	return eachMember(raw, func(key string, value json.RawMessage) error {
		if v.MapIndex(reflect.ValueOf(key)).IsValid() {
			return &fieldError{join(path, key), "is given twice"}
		}
		element := reflect.New(v.Type().Elem()).Elem()
		if err := decodeValue(join(path, key), value, element); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key), element)
		return nil
	})
}

// eachMember calls f for each member of an object, in order.
func eachMember(raw json.RawMessage, f func(key string, value json.RawMessage) error) error {
	for name, value := range members(raw) {
		key, ok := decodeString(name)
		if !ok { // half of a character: no field has it
			key = string(name[1 : len(name)-1])
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func wrongType(path string, raw json.RawMessage, want string) error {
	if path == "" {
		return &fieldError{"", "wants to be " + want + ", not " + typeName(raw)}
	}
	return &fieldError{path, "wants " + want + ", not " + typeName(raw)}
}

// classOf is the first byte of a value, with '0' for every number.
func classOf(raw json.RawMessage) byte {
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return c
	}
	return '0'
}

func typeName(raw json.RawMessage) string {
	switch classOf(raw) {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	}
	return string(raw)
}

// join is the path of a member; of one without a name it is two quotes.
func join(path, key string) string {
	if key == "" {
		key = `""`
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func orSend(only []string) string {
	if len(only) == 0 {
		return ""
	}
	return " or send " + strings.Join(only, " or ")
}

// decodeInto decodes one value, for fields of several types.
func decodeInto(path string, raw json.RawMessage, v any) error {
	return decodeValue(path, bytes.TrimSpace(raw), reflect.ValueOf(v).Elem())
}
