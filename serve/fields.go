package serve

import (
	"reflect"
	"strings"
	"sync"
)

// field is a member of a request's JSON object.
type field struct {
	name          string
	index         []int
	unimplemented bool
	only          []string // values that an unimplemented field may have
}

var fieldCache sync.Map // reflect.Type → []field

// fieldsOf lists the fields that a struct takes, those of embedded structs
// included, by their json tags.
func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || f.Anonymous {
			continue
		}
		entry := field{name: name, index: f.Index, unimplemented: f.Type == reflect.TypeFor[unimplemented]()}
		if only := f.Tag.Get("only"); only != "" {
			entry.only = strings.Split(only, "|")
		}
		fields = append(fields, entry)
	}
	fieldCache.Store(t, fields)
	return fields
}

// closest suggests the field that an unknown one was meant to be, if there is
// one within two edits.
func closest(key string, fields []field) string {
	best, at := 3, ""
	for _, f := range fields {
		if d := edits(key, f.name); d < best && d < len(f.name) {
			best, at = d, f.name
		}
	}
	if at == "" {
		return ""
	}
	return "; did you mean " + at + "?"
}

// edits is the Levenshtein distance of two short names.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}
