package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
)

// A body is looked at as a whole once, by json.Valid. What follows here takes
// such JSON apart by its brackets and quotes alone, which costs next to nothing,
// so that what is too much is counted and refused before any of it is read.

// elements are those of a JSON array.
func elements(array json.RawMessage) iter.Seq2[int, json.RawMessage] {
	return func(yield func(int, json.RawMessage) bool) {
		rest := skipSpace(array[1:])
		for i := 0; rest[0] != ']'; i++ {
			end := valueEnd(rest)
			if !yield(i, rest[:end:end]) {
				return
			}
			rest = nextValue(rest[end:])
		}
	}
}

// members are those of a JSON object, in order, with the names as they are
// written, in quotes.
func members(object json.RawMessage) iter.Seq2[json.RawMessage, json.RawMessage] {
	return func(yield func(name, value json.RawMessage) bool) {
		rest := skipSpace(object[1:])
		for rest[0] != '}' {
			end := stringEnd(rest)
			name := rest[:end:end]
			rest = skipSpace(skipSpace(rest[end:])[1:]) // the colon
			end = valueEnd(rest)
			if !yield(name, rest[:end:end]) {
				return
			}
			rest = nextValue(rest[end:])
		}
	}
}

// counted is how many elements an array, or members an object, has.
func counted(list json.RawMessage) (n int) {
	switch list[0] {
	case '[':
		for range elements(list) {
			n++
		}
	case '{':
		for range members(list) {
			n++
		}
	}
	return n
}

// maxElements is the most elements of an array, or members of an object, that
// are read one by one.
const maxElements = 1 << 16

// few refuses a list of more than maxElements.
func few(path string, list json.RawMessage) error {
	if len(list) < 2*maxElements { // each takes a comma
		return nil
	}
	if n := counted(list); n > maxElements {
		return &fieldError{path, fmt.Sprintf("has %d elements: give at most %d", n, maxElements)}
	}
	return nil
}

// nextValue is what follows a value in an array or object, without the comma.
func nextValue(b []byte) []byte {
	if b = skipSpace(b); b[0] == ',' {
		b = skipSpace(b[1:])
	}
	return b
}

func skipSpace(b []byte) []byte {
	for i, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return b[i:]
		}
	}
	return nil
}

// valueEnd is where the value ends that b begins with.
func valueEnd(b []byte) int {
	switch b[0] {
	case '"':
		return stringEnd(b)
	case '[', '{':
		depth := 0
		for i := 0; ; i++ {
			switch b[i] {
			case '"':
				i += stringEnd(b[i:]) - 1
			case '[', '{':
				depth++
			case ']', '}':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	if end := bytes.IndexAny(b, ",]} \t\n\r"); end >= 0 {
		return end
	}
	return len(b)
}

// stringEnd is where the string ends that b begins with.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}
