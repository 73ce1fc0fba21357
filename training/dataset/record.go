package dataset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Record is one row of a file: values by column.
type Record struct {
	File string
	Line int

	text map[string]string
	raw  map[string]json.RawMessage
}

// Has reports whether the row has a column.
func (r *Record) Has(column string) bool {
	if r.text != nil {
		_, ok := r.text[column]
		return ok
	}
	v, ok := r.raw[column]
	return ok && string(v) != "null"
}

// names reports whether the row has a column, be it null.
func (r *Record) names(column string) bool {
	_, cell := r.text[column]
	_, value := r.raw[column]
	return cell || value
}

// isList reports whether a column is a list of objects.
func (r *Record) isList(column string) bool {
	var list []map[string]json.RawMessage
	return json.Unmarshal(r.raw[column], &list) == nil && len(list) > 0
}

// blank reports whether a column says nothing: it is absent, null or empty.
func (r *Record) blank(column string) bool {
	raw, ok := r.raw[column]
	return r.text[column] == "" && (!ok || !says(raw))
}

// says reports whether a JSON value says something: it is not null or empty.
func says(raw json.RawMessage) bool {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return true
	}
	switch v := value.(type) {
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return value != nil
}

// without takes columns out of the row.
func (r *Record) without(columns []string) {
	for _, c := range columns {
		delete(r.text, c)
		delete(r.raw, c)
	}
}

// Columns lists the row's columns, sorted.
func (r *Record) Columns() []string {
	var names []string
	for c := range r.text {
		names = append(names, c)
	}
	for c := range r.raw {
		names = append(names, c)
	}
	slices.Sort(names)
	return names
}

// Text is the value of a column as text: a string, or a number or truth value
// as written.
func (r *Record) Text(column string) (string, error) {
	if r.text != nil {
		v, ok := r.text[column]
		if !ok {
			return "", r.missing(column)
		}
		return v, nil
	}
	v, ok := r.raw[column]
	if !ok {
		return "", r.missing(column)
	}
	if string(v) == "null" {
		return "", r.fault("column %q is null", column)
	}
	switch v[0] {
	case '"':
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return "", r.fault("column %q: %w", column, err)
		}
		return s, nil
	case '{', '[':
		return "", r.fault("column %q is no text: %s", column, clip(string(v)))
	}
	return string(v), nil
}

// Answer is the text of a column that is to be learnt, which cannot be blank.
func (r *Record) Answer(column string) (string, error) {
	v, err := r.Text(column)
	if err == nil && strings.TrimSpace(v) == "" {
		err = r.fault("column %q is empty: there is nothing to learn", column)
	}
	return v, err
}

// Raw is the JSON value of a column.
func (r *Record) Raw(column string) (json.RawMessage, error) {
	if v, ok := r.raw[column]; ok {
		return v, nil
	}
	if v, ok := r.text[column]; ok { // JSON in a cell
		return json.RawMessage(v), nil
	}
	return nil, r.missing(column)
}

func (r *Record) missing(column string) error {
	return r.fault("column %q is missing (the row has %s)", column, strings.Join(r.Columns(), ", "))
}

func (r *Record) fault(format string, a ...any) error {
	return fmt.Errorf("%s:%d: %w", r.File, r.Line, fmt.Errorf(format, a...))
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:57], "") + "..."
	}
	return s
}
