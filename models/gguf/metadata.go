package gguf

import (
	"encoding/binary"
	"math"
)

// kind is the type of a metadata value, numbered as gguf.h's enum gguf_type.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

// kindSizes holds the bytes of a value; 0 for strings and arrays.
var kindSizes = [...]uint64{
	kindUint8: 1, kindInt8: 1, kindUint16: 2, kindInt16: 2, kindUint32: 4, kindInt32: 4, kindFloat32: 4,
	kindBool: 1, kindString: 0, kindArray: 0, kindUint64: 8, kindInt64: 8, kindFloat64: 8,
}

// value is a metadata value as stored. Its raw bytes were walked once, so that
// decoding them cannot run past their end.
type value struct {
	kind  kind // of the value, or of an array's elements
	array bool
	count int // of elements; 1 where not an array
	raw   []byte
}

// value reads a value of kind k.
func (c *cursor) value(k kind) value {
	v := value{kind: k, count: 1}
	n := uint64(1)
	if k == kindArray {
		v.array, v.kind, n = true, kind(c.u32()), c.u64()
	}
	if c.err == nil && (v.kind > kindFloat64 || v.kind == kindArray) {
		c.fail("a value of type %d", uint32(v.kind))
	}
	if c.err == nil && n > uint64(len(c.b)) { // every element takes a byte at least
		c.fail("an array of %d values in a file of %d bytes", n, len(c.b))
	}
	if c.err != nil {
		return value{}
	}
	v.count = int(n)
	start := c.at
	if size := kindSizes[v.kind]; size > 0 {
		v.raw = c.bytes(n * size)
		return v
	}
	for range v.count {
		if c.str(); c.err != nil {
			return value{}
		}
	}
	v.raw = c.b[start:c.at]
	return v
}

// decode returns the elements that to makes of v's bytes; nil, false where to
// refuses one.
func decode[T any](v value, to func(kind, []byte) (T, bool)) ([]T, bool) {
	elements := make([]T, v.count)
	c := &cursor{b: v.raw}
	for i := range elements {
		var raw []byte
		if v.kind == kindString {
			raw = c.str()
		} else {
			raw = c.bytes(kindSizes[v.kind])
		}
		var ok bool
		if elements[i], ok = to(v.kind, raw); !ok {
			return nil, false
		}
	}
	return elements, true
}

func toString(k kind, raw []byte) (string, bool) { return string(raw), k == kindString }

func toBool(k kind, raw []byte) (bool, bool) {
	if k != kindBool {
		return false, false
	}
	return raw[0] != 0, true
}

func toInt(k kind, raw []byte) (int, bool) {
	switch k {
	case kindUint8:
		return int(raw[0]), true
	case kindInt8:
		return int(int8(raw[0])), true
	case kindUint16:
		return int(binary.LittleEndian.Uint16(raw)), true
	case kindInt16:
		return int(int16(binary.LittleEndian.Uint16(raw))), true
	case kindUint32:
		v := binary.LittleEndian.Uint32(raw)
		return int(v), uint64(v) <= math.MaxInt
	case kindInt32:
		return int(int32(binary.LittleEndian.Uint32(raw))), true
	case kindUint64:
		v := binary.LittleEndian.Uint64(raw)
		return int(v), v <= math.MaxInt
	case kindInt64:
		v := int64(binary.LittleEndian.Uint64(raw))
		return int(v), int64(int(v)) == v
	}
	return 0, false
}

func toFloat(k kind, raw []byte) (float64, bool) {
	switch k {
	case kindFloat32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))), true
	case kindFloat64:
		return math.Float64frombits(binary.LittleEndian.Uint64(raw)), true
	}
	return 0, false
}

func toAny(k kind, raw []byte) (any, bool) {
	switch k {
	case kindString:
		return string(raw), true
	case kindBool:
		return raw[0] != 0, true
	case kindFloat32, kindFloat64:
		return toFloat(k, raw)
	case kindUint64:
		if v := binary.LittleEndian.Uint64(raw); v > math.MaxInt {
			return v, true
		}
	}
	return toInt(k, raw)
}

// scalar and list decode the value of key when it is one, or an array.
func scalar[T any](f *File, key string, to func(kind, []byte) (T, bool)) (T, bool) {
	var zero T
	v, ok := f.values[key]
	if !ok || v.array {
		return zero, false
	}
	elements, ok := decode(v, to)
	if !ok {
		return zero, false
	}
	return elements[0], true
}

func list[T any](f *File, key string, to func(kind, []byte) (T, bool)) ([]T, bool) {
	v, ok := f.values[key]
	if !ok || !v.array {
		return nil, false
	}
	return decode(v, to)
}

// String returns a string value; false where key is absent or of another type.
func (f *File) String(key string) (string, bool) { return scalar(f, key, toString) }

// Strings returns an array of strings.
func (f *File) Strings(key string) ([]string, bool) { return list(f, key, toString) }

// Int returns an integer of any width that fits an int.
func (f *File) Int(key string) (int, bool) { return scalar(f, key, toInt) }

// Ints returns an array of integers of any width that fit an int.
func (f *File) Ints(key string) ([]int, bool) { return list(f, key, toInt) }

// Float returns a float32 or float64 value; integers are not taken for one.
func (f *File) Float(key string) (float64, bool) { return scalar(f, key, toFloat) }

// Floats returns an array of float32 or float64 values.
func (f *File) Floats(key string) ([]float64, bool) { return list(f, key, toFloat) }

// Bool returns a boolean value.
func (f *File) Bool(key string) (bool, bool) { return scalar(f, key, toBool) }

// Bools returns an array of booleans.
func (f *File) Bools(key string) ([]bool, bool) { return list(f, key, toBool) }

// Value returns a value of any type, for display: a string, bool, int, uint64
// (only beyond the largest int), float64, or a []any of those.
func (f *File) Value(key string) (any, bool) {
	v, ok := f.values[key]
	if !ok {
		return nil, false
	}
	elements, ok := decode(v, toAny)
	if !ok || v.array {
		return elements, ok
	}
	return elements[0], true
}
