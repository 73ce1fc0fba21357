package jinja

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"
)

// A dict is a dictionary that keeps its order. Entries are added while it is
// made, and never after.
type dict struct {
	keys, values []Value
	hashes       []any
	// index finds a key by its hash, from the size on where that pays.
	index map[any]int
}

func (*dict) typeName() string { return "dict" }

// Dict is a dictionary in the order of the pairs. Of equal keys the last value
// counts. It panics on a key that Python cannot hash.
func Dict(pairs ...Pair) Value {
	d := &dict{}
	m := meter{ctx: context.Background(), limits: Limits{}.withDefaults()}
	for _, p := range pairs {
		h, ok := m.hash(p.Key)
		if !ok {
			panic("jinja: a " + p.Key.typeName() + " as a key")
		}
		d.put(h, p.Key, p.Value)
	}
	return d
}

const indexFrom = 8

func (d *dict) put(h any, key, value Value) {
	if i, ok := d.find(h); ok {
		d.values[i] = value
		return
	}
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
	d.hashes = append(d.hashes, h)
	switch n := len(d.keys); {
	case n == indexFrom:
		d.index = make(map[any]int, 2*n)
		for i, h := range d.hashes {
			d.index[h] = i
		}
	case n > indexFrom:
		d.index[h] = n - 1
	}
}

// find returns the place of the key with this hash.
func (d *dict) find(h any) (int, bool) {
	if d.index != nil {
		i, ok := d.index[h]
		return i, ok
	}
	for i, other := range d.hashes {
		if other == h {
			return i, true
		}
	}
	return 0, false
}

func (d *dict) get(h any) (Value, bool) {
	if i, ok := d.find(h); ok {
		return d.values[i], true
	}
	return nil, false
}

// set adds an entry with a string as key.
func (d *dict) set(key string, value Value) { d.put(key, str(key), value) }

// Kinds of hashes beside a string, an int64, a float64 and a value itself.
type (
	bigHash   string
	tupleHash string
	// undefinedHash is of every undefined value: they are equal.
	undefinedHash struct{}
)

// hash returns what equal values have in common, in a form that Go compares.
// ok is false where Python cannot hash the value.
func (m *meter) hash(v Value) (h any, ok bool) {
	switch v := v.(type) {
	case str:
		return string(v), true
	case markup:
		return string(v), true
	case boolean:
		if v {
			return int64(1), true
		}
		return int64(0), true
	case integer:
		return int64(v), true
	case bigint:
		m.hold(v.BitLen() / 8)
		return hashBig(v.Int), true
	case float:
		return floatHash(float64(v)), true
	case *undefined:
		return undefinedHash{}, true
	case *tuple:
		m.enter()
		defer m.leave()
		m.step(len(v.items))
		var b []byte
		for _, item := range v.items {
			h, ok := m.hash(item)
			if !ok {
				return nil, false
			}
			b = appendHash(b, h)
		}
		m.hold(len(b))
		return tupleHash(b), true
	case *list, *dict:
		return nil, false
	case *dictView:
		return v, v.what == "values" // by identity, where the others are sets
	}
	return v, true
}

func floatHash(f float64) any {
	if f != math.Trunc(f) || math.IsInf(f, 0) {
		return f
	}
	i, _ := big.NewFloat(f).Int(nil)
	if i.IsInt64() {
		return i.Int64()
	}
	return hashBig(i)
}

// hashBig is the hash of a whole number that is no int64.
func hashBig(i *big.Int) bigHash {
	return bigHash(append(i.Bytes(), byte(i.Sign())))
}

// appendHash writes a hash so that equal hashes, and only they, give the same
// bytes.
func appendHash(b []byte, h any) []byte {
	text := func(kind byte, s string) {
		b = append(b, kind)
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	switch h := h.(type) {
	case string:
		text('s', h)
	case bigHash:
		text('b', string(h))
	case tupleHash:
		text('t', string(h))
	case int64:
		text('i', strconv.FormatInt(h, 10))
	case float64:
		text('f', strconv.FormatFloat(h, 'x', -1, 64))
	case undefinedHash:
		text('u', "")
	case noneType:
		text('n', "")
	case Value:
		text('o', fmt.Sprintf("%p", h))
	}
	return b
}
