package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	goruntime "runtime"
	"strings"
	"testing"
)

// raw builds hostile files value by value.
type raw []byte

func begin(version uint32, tensors, pairs uint64) raw {
	return raw("GGUF").u32(version).u64(tensors).u64(pairs)
}

func (b raw) u32(v uint32) raw { return binary.LittleEndian.AppendUint32(b, v) }
func (b raw) u64(v uint64) raw { return binary.LittleEndian.AppendUint64(b, v) }
func (b raw) str(s string) raw { return append(b.u64(uint64(len(s))), s...) }
func (b raw) tensor(name string, t Type, offset uint64, dims ...uint64) raw {
	b = b.str(name).u32(uint32(len(dims)))
	for _, dim := range dims {
		b = b.u64(dim)
	}
	return b.u32(uint32(t)).u64(offset)
}

// body pads to 32 and appends n bytes.
func (b raw) body(n int) raw {
	return append(append(b, make([]byte, padding(uint64(len(b))))...), make([]byte, n)...)
}

const huge = 1 << 62

var hostile = map[string]struct {
	file raw
	want string
}{
	"empty":                  {nil, "ends at 0"},
	"other magic":            {raw("GGML....................."), "does not begin"},
	"version 1":              {begin(1, 0, 0), "version 1"},
	"version 4":              {begin(4, 0, 0), "version 4"},
	"big endian":             {begin(0x03000000, 0, 0), "big-endian"},
	"pairs claimed":          {begin(3, 0, huge), "inside its header"},
	"tensors claimed":        {begin(3, huge, 0), "inside its header"},
	"string length":          {begin(3, 0, 1).str("k").u32(8).u64(huge), `"k"`},
	"key length":             {begin(3, 0, 1).u64(1 << 20), "metadata key of 1048576"},
	"array length":           {begin(3, 0, 1).str("k").u32(9).u32(4).u64(huge), "an array of"},
	"array length overflows": {begin(3, 0, 1).str("k").u32(9).u32(10).u64(1<<61 + 1), "an array of"},
	"strings claimed":        {begin(3, 0, 1).str("k").u32(9).u32(8).u64(30).str("one"), "inside its header"},
	"nested array":           {begin(3, 0, 1).str("k").u32(9).u32(9).u64(1), "type 9"},
	"unknown value type":     {begin(3, 0, 1).str("k").u32(13), "type 13"},
	"key twice":              {append(begin(3, 0, 2).str("k").u32(0), 7).str("k"), "occurs twice"},
	"alignment zero":         {begin(3, 0, 1).str(keyAlignment).u32(4).u32(0), keyAlignment},
	"alignment odd":          {begin(3, 0, 1).str(keyAlignment).u32(4).u32(48), keyAlignment},
	"alignment of text":      {begin(3, 0, 1).str(keyAlignment).u32(8).str("32"), keyAlignment},
	"alignment of none":      {begin(3, 0, 1).str(keyAlignment).u32(9).u32(4).u64(0), keyAlignment},
	"dimensions":             {begin(3, 1, 0).tensor("t", 0, 0, 1, 1, 1, 1, 1), "5 dimensions"},
	"dimension too large":    {begin(3, 1, 0).tensor("t", 0, 0, 1<<63), "a dimension of"},
	"elements overflow":      {begin(3, 1, 0).tensor("t", 0, 0, 1<<32, 1<<32, 1<<32).body(32), "too large"},
	"bytes overflow":         {begin(3, 1, 0).tensor("t", 0, 0, huge).body(32), "too large"},
	"block not filled":       {begin(3, 1, 0).tensor("t", TypeQ4_K, 0, 128, 2).body(144), "do not fill"},
	"outside":                {begin(3, 1, 0).tensor("t", 0, 0, 9).body(32), "outside"},
	"offset outside":         {begin(3, 1, 0).tensor("t", 0, 1<<40, 1).body(32), "outside"},
	"offset of unknown type": {begin(3, 1, 0).tensor("t", 99, 1<<40, 1).body(32), "outside"},
	"not aligned":            {begin(3, 1, 0).tensor("t", 0, 4, 1).body(32), "not aligned"},
	"overlap":                {begin(3, 2, 0).tensor("t", 0, 0, 9).tensor("u", 0, 32, 1).body(64), `"u" overlaps "t"`},
	"same place":             {begin(3, 2, 0).tensor("t", 0, 0, 8).tensor("u", 0, 0, 8).body(64), "overlaps"},
	"tensor twice":           {begin(3, 2, 0).tensor("t", 0, 0, 8).tensor("t", 0, 32, 8).body(64), "twice"},
	"no body":                {begin(3, 1, 0).tensor("t", 0, 0, 1), "outside"},
	"split, not a file":      {begin(3, 0, 1).str(keySplitCount).u32(2).u32(2), "2 parts"},
}

func TestHostile(t *testing.T) {
	for name, c := range hostile {
		_, err := Parse("evil.gguf", c.file)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "evil.gguf: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestFalseCountsCostNothing demands that what a header claims is not allocated.
func TestFalseCountsCostNothing(t *testing.T) {
	for _, name := range []string{"pairs claimed", "tensors claimed", "array length", "strings claimed"} {
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		_, _ = Parse("x", hostile[name].file)
		goruntime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<15 {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
}

func TestUnknownTypeIsListed(t *testing.T) {
	f, err := Parse("x", begin(2, 2, 0).tensor("new", 99, 0, 7).tensor("t", 0, 32, 8).body(64))
	if err != nil {
		t.Fatal(err)
	}
	if f.Version() != 2 || len(f.Tensors()) != 2 {
		t.Errorf("version %d, tensors %v", f.Version(), f.Tensors())
	}
	if _, err := f.Weight("new"); !errors.Is(err, ErrType) || !strings.Contains(err.Error(), `"new"`) || !strings.Contains(err.Error(), "type 99") {
		t.Errorf("got %v", err)
	}
	if _, err := f.Weight("t"); err != nil {
		t.Error(err)
	}
}

// FuzzParse demands that no file panics, and that whatever is accepted can be
// asked for everything it has.
func FuzzParse(f *testing.F) {
	for _, c := range hostile {
		f.Add([]byte(c.file))
	}
	f.Add(encoded(f, sample()))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		file, err := Parse("fuzz", b)
		if err != nil {
			return
		}
		for _, key := range file.Keys() {
			if _, ok := file.Value(key); !ok {
				t.Fatalf("no value of %q", key)
			}
			file.Strings(key)
			file.Ints(key)
			file.Floats(key)
			file.Bools(key)
		}
		for _, tensor := range file.Tensors() {
			w, err := file.Weight(tensor.Name)
			if err != nil && !errors.Is(err, ErrType) {
				t.Fatal(err)
			}
			if len(w.Data) > len(b) {
				t.Fatalf("%s has %d bytes of a file of %d", tensor.Name, len(w.Data), len(b))
			}
			for range min(w.Rows, 4) {
				w.Row(0)
			}
		}
		if !bytes.Equal(before, b) {
			t.Fatal("parsing wrote to the file")
		}
	})
}
