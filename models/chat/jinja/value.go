package jinja

import (
	"math/big"
	"strings"
)

// A Value is a value in a template: what Python calls an object. It is made by
// the functions below or by FromJSON and is not changed by rendering.
type Value interface {
	// typeName is the name of the Python class.
	typeName() string
}

type (
	noneType struct{}
	boolean  bool
	integer  int64
	bigint   struct{ *big.Int } // beyond int64
	float    float64
	str      string
	markup   string // markupsafe.Markup, a subclass of str
	// bytesValue is bytes, which only str.encode makes.
	bytesValue string
	list       struct{ items []Value }
	tuple      struct {
		items []Value
		group bool // of groupby: its items are also named grouper and list
	}
)

func (noneType) typeName() string { return "NoneType" }
func (boolean) typeName() string  { return "bool" }
func (integer) typeName() string  { return "int" }
func (bigint) typeName() string   { return "int" }
func (float) typeName() string    { return "float" }
func (str) typeName() string      { return "str" }
func (markup) typeName() string   { return "Markup" }
func (bytesValue) typeName() string {
	return "bytes"
}
func (*list) typeName() string { return "list" }
func (t *tuple) typeName() string {
	if t.group {
		return "_GroupTuple"
	}
	return "tuple"
}

// None is Python's None.
var None Value = noneType{}

// Bool is True or False.
func Bool(b bool) Value { return boolean(b) }

// Int is a whole number.
func Int(i int64) Value { return integer(i) }

// BigInt is a whole number of any size.
func BigInt(i *big.Int) Value {
	if i.IsInt64() {
		return integer(i.Int64())
	}
	return bigint{new(big.Int).Set(i)}
}

// Float is a floating-point number.
func Float(f float64) Value { return float(f) }

// String is a string. Bytes that are not UTF-8 become U+FFFD.
func String(s string) Value { return str(strings.ToValidUTF8(s, "\uFFFD")) }

// List is a list of the items.
func List(items ...Value) Value { return &list{items} }

// Tuple is a tuple of the items.
func Tuple(items ...Value) Value { return &tuple{items: items} }

// A Pair is an entry of a dictionary.
type Pair struct{ Key, Value Value }

// Text is the string that v holds; ok is false where v is not a string.
func Text(v Value) (s string, ok bool) {
	switch v := v.(type) {
	case str:
		return string(v), true
	case markup:
		return string(v), true
	}
	return "", false
}
