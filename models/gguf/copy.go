package gguf

import (
	"encoding/binary"
	"fmt"
)

// Copy sets a metadata value to the one that f has, byte for byte.
func (w *Writer) Copy(f *File, key string) {
	v, ok := f.values[key]
	if !ok {
		w.faults = append(w.faults, fmt.Errorf("metadata %q: %s has none", key, f.path))
		return
	}
	if w.taken[key] {
		w.faults = append(w.faults, fmt.Errorf("metadata %q: occurs twice", key))
		return
	}
	w.taken[key] = true
	w.count++
	w.pairs = appendString(w.pairs, key)
	if v.array {
		w.pairs = appendKind(w.pairs, kindArray, v.kind)
		w.pairs = binary.LittleEndian.AppendUint64(w.pairs, uint64(v.count))
	} else {
		w.pairs = appendKind(w.pairs, v.kind)
	}
	w.pairs = append(w.pairs, v.raw...)
}
