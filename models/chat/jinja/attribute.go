package jinja

import (
	"strings"
	"unicode/utf8"
)

// attribute is value.attr of the sandbox: an attribute that is safe, else an
// item. h is the hash of attr.
func (r *rendering) attribute(value Value, attr string, h any) Value {
	if d, ok := value.(*dict); ok && !isPrivate(attr) && dictMethods[attr] == nil && !mutatesDict[attr] {
		// The usual case of the rules below.
		if v, ok := d.get(h); ok {
			return v
		}
		return undefinedItem(value, str(attr))
	}
	if v := r.ownAttribute(value, attr); v != nil {
		return v
	}
	if v := r.subscript(value, str(attr)); v != nil {
		return v
	}
	return undefinedItem(value, str(attr))
}

// item is value[key] of the sandbox: an item, else an attribute that is safe.
func (r *rendering) item(value, key Value) Value {
	r.step(1)
	if v := r.subscript(value, key); v != nil {
		return v
	}
	if attr, ok := Text(key); ok {
		if v := r.ownAttribute(value, attr); v != nil {
			return v
		}
	}
	return undefinedItem(value, key)
}

// The methods that the sandbox hides, since they change a value.
var (
	mutatesList = words("append clear pop reverse insert sort extend remove")
	mutatesDict = words("clear pop popitem setdefault update")
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}

// ownAttribute is Python's getattr as the sandbox lets it through: nil where
// there is no such attribute, undefined where it is hidden.
func (r *rendering) ownAttribute(value Value, attr string) Value {
	if u, ok := value.(*undefined); ok {
		switch {
		case hiddenOfUndefined[attr] || hasDunder(value, attr):
			return unsafeAttribute(value, attr)
		case strings.HasPrefix(attr, "__") && strings.HasSuffix(attr, "__"):
			return nil
		}
		u.fail()
	}
	if ns, ok := value.(*namespace); ok {
		// It has no attributes but those that were set.
		v, ok := ns.attrs.get(attr)
		switch {
		case attr == "__class__" || attr == "_Namespace__attrs" || ok && isPrivate(attr):
			return unsafeAttribute(value, attr)
		case ok:
			return v
		}
		return nil
	}
	if isPrivate(attr) {
		if hasDunder(value, attr) {
			return unsafeAttribute(value, attr)
		}
		return nil
	}
	switch value.(type) {
	case *list:
		if mutatesList[attr] {
			return unsafeAttribute(value, attr)
		}
	case *dict:
		if mutatesDict[attr] {
			return unsafeAttribute(value, attr)
		}
	}
	return r.publicAttribute(value, attr)
}

var hiddenOfUndefined = words("_undefined_hint _undefined_obj _undefined_name _undefined_exception _undefined_message _fail_with_undefined_error")

// publicAttribute finds the attributes of each class whose name has no
// underscore in front.
func (r *rendering) publicAttribute(value Value, attr string) Value {
	bound := func(table map[string]*routine) Value {
		if m := table[attr]; m != nil {
			return &method{value, m}
		}
		return nil
	}
	switch v := value.(type) {
	case str:
		return bound(stringMethods)
	case markup:
		if m := bound(markupMethods); m != nil {
			return m
		}
		return bound(stringMethods)
	case *list:
		return bound(listMethods)
	case *tuple:
		if v.group {
			switch attr {
			case "grouper":
				return v.items[0]
			case "list":
				return v.items[1]
			}
		}
		return bound(tupleMethods)
	case *dict:
		return bound(dictMethods)
	case *dictView:
		if attr == "mapping" {
			raise("NotImplementedError", "the mapping of a dictionary's view")
		}
		if attr == "isdisjoint" && v.what != "values" {
			raise("NotImplementedError", "sets of a dictionary's keys")
		}
	case boolean, integer, bigint:
		if v := wholeAttribute(value, attr); v != nil {
			return v
		}
		return bound(intMethods)
	case float:
		switch attr {
		case "real":
			return v
		case "imag":
			return float(0)
		}
		return bound(floatMethods)
	case bytesValue:
		return bound(bytesMethods)
	case *rangeValue:
		switch attr {
		case "start":
			return integer(v.start)
		case "stop":
			return integer(v.stop)
		case "step":
			return integer(v.step)
		}
		return bound(rangeMethods)
	case *loop:
		return v.attribute(attr)
	case *macro:
		return v.attribute(attr)
	case *cycler:
		if attr == "current" {
			return v.items[v.pos]
		}
		return bound(cyclerMethods)
	case *joiner:
		switch attr {
		case "sep":
			return v.separator
		case "used":
			return boolean(v.used)
		}
	case *routine:
		if v == globals["dict"] {
			return bound(dictClassMethods)
		}
		if v.isClass && attr == "mro" {
			return unsafeAttribute(value, attr)
		}
	}
	return nil
}

func wholeAttribute(v Value, attr string) Value {
	switch attr {
	case "real", "numerator":
		return plus(v)
	case "imag":
		return integer(0)
	case "denominator":
		return integer(1)
	}
	return nil
}

// dunders are what every object has, and what containers, strings and numbers
// have beside. The sandbox hides them all.
var (
	dunders          = words("__class__ __delattr__ __dir__ __doc__ __eq__ __format__ __ge__ __getattribute__ __getstate__ __gt__ __hash__ __init__ __init_subclass__ __le__ __lt__ __ne__ __new__ __reduce__ __reduce_ex__ __repr__ __setattr__ __sizeof__ __str__ __subclasshook__")
	containerDunders = words("__len__ __iter__ __contains__ __getitem__")
	numberDunders    = words("__add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ __pow__ __int__ __float__ __bool__ __abs__ __neg__ __pos__ __round__")
	callableDunders  = words("__call__ __name__ __qualname__ __self__ __module__")
	instanceDunders  = words("__dict__ __module__ __weakref__")
)

func hasDunder(v Value, attr string) bool {
	if dunders[attr] {
		return true
	}
	switch v.(type) {
	case *undefined:
		return attr == "__module__" || attr == "__slots__" || containerDunders[attr] && attr != "__contains__" || numberDunders[attr] && attr != "__abs__" && attr != "__round__" || attr == "__call__"
	case str, markup, *list, *tuple, *dict, bytesValue, *rangeValue, *dictView:
		return containerDunders[attr]
	case boolean, integer, bigint, float:
		return numberDunders[attr]
	case *loop, *macro, *cycler, *joiner:
		return instanceDunders[attr]
	case callable:
		return callableDunders[attr]
	}
	return false
}

// subscript is Python's value[key], or nil where that raises a TypeError, a
// KeyError or an IndexError.
func (r *rendering) subscript(value, key Value) Value {
	switch v := value.(type) {
	case *dict:
		if h, ok := r.hash(key); ok {
			if v, ok := v.get(h); ok {
				return v
			}
		}
	case *list:
		if i, ok := place(key, len(v.items)); ok {
			return v.items[i]
		}
	case *tuple:
		if i, ok := place(key, len(v.items)); ok {
			return v.items[i]
		}
	case *rangeValue:
		if i, ok := place(key, v.n); ok {
			return v.at(i)
		}
	case bytesValue:
		if i, ok := place(key, len(v)); ok {
			return integer(v[i])
		}
	case str:
		if c, ok := r.character(string(v), key); ok {
			return str(c)
		}
	case markup:
		if c, ok := r.character(string(v), key); ok {
			return markup(c)
		}
	case *selfReference:
		if name, ok := Text(key); ok && v.r.blocks[name] != nil {
			return &blockReference{v.activation, v.r.blocks[name]}
		}
	case *undefined:
		v.fail()
	}
	return nil
}

// place is the place in a sequence of n items that an index means.
func place(key Value, n int) (int, bool) {
	i, ok := small(key)
	if !ok {
		return 0, false
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

// character is the character of s at an index.
func (r *rendering) character(s string, key Value) (string, bool) {
	i, ok := small(key)
	if !ok {
		return "", false
	}
	r.scan(2 * len(s))
	n := int64(utf8.RuneCountInString(s))
	if i < 0 {
		i += n
	}
	if i < 0 || i >= n {
		return "", false
	}
	at := runeOffset(s, int(i))
	_, size := utf8.DecodeRuneInString(s[at:])
	return s[at : at+size], true
}

// runeOffset is the byte at which the character i of s begins.
func runeOffset(s string, i int) int {
	for at := range s {
		if i == 0 {
			return at
		}
		i--
	}
	return len(s)
}

// slice is Python's value[start:stop:step].
func (r *rendering) slice(value, start, stop, step Value) Value {
	r.step(1)
	failIfUndefined(value)
	var items []Value
	switch v := value.(type) {
	case str, markup:
		return r.sliceText(value, start, stop, step)
	case *list:
		items = v.items
	case *tuple:
		items = v.items
	case *rangeValue:
		from, to, by := sliceBounds(v.n, start, stop, step)
		if by != int(int32(by)) {
			raise("NotImplementedError", "a slice of a range with a step beyond 32 bits")
		}
		return newRange(v.start+int64(from)*v.step, v.start+int64(to)*v.step, int64(by)*v.step)
	case bytesValue:
		raise("NotImplementedError", "a slice of bytes")
	case *dict:
		raise("TypeError", "unhashable type: 'slice'")
	default:
		raise("TypeError", "'%s' object is not subscriptable", value.typeName())
	}
	from, to, by := sliceBounds(len(items), start, stop, step)
	n := sliceLength(from, to, by)
	r.holdItems(n)
	part := make([]Value, n)
	for i := range part {
		part[i] = items[from+i*by]
	}
	if _, ok := value.(*list); ok {
		return &list{part}
	}
	return &tuple{items: part}
}

func (r *rendering) sliceText(value, start, stop, step Value) Value {
	s, _ := Text(value)
	made := func(s string) Value {
		if isMarkup(value) {
			return r.markup(s)
		}
		return r.text(s)
	}
	r.scan(2 * len(s))
	length := utf8.RuneCountInString(s)
	from, to, by := sliceBounds(length, start, stop, step)
	n := sliceLength(from, to, by)
	switch {
	case n == 0:
		return made("")
	case by == 1:
		at := runeOffset(s, from)
		return made(s[at : at+runeOffset(s[at:], n)])
	case length == len(s):
		r.work(n)
		b := make([]byte, n)
		for i := range b {
			b[i] = s[from+i*by]
		}
		return made(string(b))
	}
	r.hold(4 * len(s))
	r.work(n)
	runes := []rune(s)
	part := make([]rune, n)
	for i := range part {
		part[i] = runes[from+i*by]
	}
	return made(string(part))
}

// sliceBounds is Python's slice.indices.
func sliceBounds(n int, start, stop, step Value) (from, to, by int) {
	bound := func(v Value, low, high, none int) int {
		if v == None {
			return none
		}
		i := sliceIndex(v)
		if i < 0 {
			return max(i+n, low)
		}
		return min(i, high)
	}
	by = 1
	if step != None {
		by = max(sliceIndex(step), -1<<62)
	}
	if by == 0 {
		raise("ValueError", "slice step cannot be zero")
	}
	if by < 0 {
		return bound(start, -1, n-1, n-1), bound(stop, -1, n-1, -1), by
	}
	return bound(start, 0, n, 0), bound(stop, 0, n, n), by
}

func sliceIndex(v Value) int {
	if !isWhole(v) {
		raise("TypeError", "slice indices must be integers or None or have an __index__ method")
	}
	return index(v)
}

// sliceLength is how many items lie between two places.
func sliceLength(from, to, by int) int {
	switch {
	case by > 0 && from < to:
		return (to-from-1)/by + 1
	case by < 0 && to < from:
		return (from-to-1)/-by + 1
	}
	return 0
}
