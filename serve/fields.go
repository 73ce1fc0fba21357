package serve

import (
	"reflect"
	"strings"
	"sync"

	"github.com/peft-serve/peft-serve/internal/spelling"
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

// closest suggests the field that an unknown one was meant to be.
func closest(key string, fields []field) string {
	meant := spelling.Nearest(key, func(yield func(string) bool) {
		for _, f := range fields {
			if !yield(f.name) {
				return
			}
		}
	})
	if meant == "" {
		return ""
	}
	return "; did you mean " + meant + "?"
}
