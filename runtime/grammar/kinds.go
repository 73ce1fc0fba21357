package grammar

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
)

// maxSize bounds the lengths that a schema names.
const maxSize = 1 << 20

// size is a keyword's whole number, or fallback.
func size(s object, keyword, path string, fallback int) (int, error) {
	v, ok := s.get(keyword)
	if !ok {
		return fallback, nil
	}
	n, isNumber := v.(json.Number)
	if r, exact := new(big.Rat).SetString(n.String()); isNumber && exact && r.IsInt() && r.Sign() >= 0 {
		if !r.Num().IsInt64() || r.Num().Int64() > maxSize {
			return 0, fault(path+"/"+keyword, "is larger than %d", maxSize)
		}
		return int(r.Num().Int64()), nil
	}
	return 0, fault(path+"/"+keyword, "is no whole number that is not negative")
}

func (c *compiler) array(s object, path string) (expr, error) {
	least, err := size(s, "minItems", path, 0)
	if err != nil {
		return nil, err
	}
	mostItems, err := size(s, "maxItems", path, -1)
	if err != nil {
		return nil, err
	}
	if mostItems >= 0 && mostItems < least {
		return nil, fault(path+"/maxItems", "is less than minItems")
	}
	var first []expr
	lists, following := "prefixItems", "items"
	if v, _ := s.get("items"); isList(v) && !s.has("prefixItems") {
		lists, following = "items", "additionalItems" // as draft 7 calls them
	} else if v, ok := s.get("additionalItems"); ok {
		if s.has("prefixItems") {
			return nil, fault(path+"/additionalItems", "is not for what follows prefixItems: write it as items")
		}
		if _, err := c.schema(v, path+"/additionalItems"); err != nil { // it says nothing here, but is a schema
			return nil, err
		}
	}
	if v, ok := s.get(lists); ok {
		schemas, isList := v.([]any)
		if !isList {
			return nil, fault(path+"/prefixItems", "is no list")
		}
		for i, one := range schemas {
			e, err := c.schema(one, path+"/"+lists+"/"+strconv.Itoa(i))
			if err != nil {
				return nil, err
			}
			first = append(first, e)
		}
	}
	var others any = true
	if v, ok := s.get(following); ok {
		others = v
	}
	var rest expr
	if others != false {
		if rest, err = c.schema(others, path+"/"+following); err != nil {
			return nil, err
		}
		rest = c.shared(rest, path+"/"+following)
	}
	return list(first, rest, least, mostItems), nil
}

func isList(v any) bool {
	_, ok := v.([]any)
	return ok
}

// shared makes a rule of an expression that is laid many times.
func (c *compiler) shared(e expr, path string) expr {
	switch e.(type) {
	case call, text:
		return e
	}
	return call(c.add(named{is: e}, path))
}

// list is an array: first, then rest, which may be nil, between least and most in
// all.
func list(first []expr, rest expr, least, most int) expr {
	var items expr // all but the first
	if rest != nil {
		lo := max(least-max(len(first), 1), 0)
		hi := -1
		if most >= 0 {
			hi = max(most-max(len(first), 1), 0)
		}
		if most < 0 || most > len(first) {
			items = repeat{sequence{text(comma), rest}, lo, hi}
		}
	}
	if len(first) == 0 {
		if rest == nil || most == 0 {
			if least > 0 {
				return choice{}
			}
			return text("[]")
		}
		full := sequence{text("["), rest, items, text("]")}
		if least > 0 {
			return full
		}
		return choice{text("[]"), full}
	}
	// An array may end after any of first that is not needed.
	tail := items
	for i := len(first) - 1; i >= 0; i-- {
		if most >= 0 && i >= most {
			tail = nil
			continue
		}
		one := first[i]
		if i > 0 {
			one = sequence{text(comma), one}
		}
		tail = sequence{one, tail}
		if i >= least {
			tail = opt(tail)
		}
	}
	if rest == nil && least > len(first) {
		return choice{}
	}
	return sequence{text("["), tail, text("]")}
}

func (c *compiler) number(s object, path string, integers bool) (expr, error) {
	ends := map[string]*bound{}
	if v, ok := s.get("format"); ok {
		name, _ := v.(string)
		if f, known := integerFormats[name]; known {
			integers = true
			ends["lo"], ends["hi"] = &bound{f.lo, false}, &bound{f.hi, false}
		}
	}
	for _, keyword := range []string{"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"} {
		v, ok := s.get(keyword)
		if !ok {
			continue
		}
		value, err := rational(v, path+"/"+keyword)
		if err != nil {
			return nil, err
		}
		open := strings.HasPrefix(keyword, "exclusive")
		side, sign := "lo", 1
		if strings.HasSuffix(strings.ToLower(keyword), "maximum") {
			side, sign = "hi", -1
		}
		if now := ends[side]; now == nil || value.Cmp(now.value)*sign > 0 || value.Cmp(now.value) == 0 && open {
			ends[side] = &bound{value, open}
		}
	}
	lo, hi := ends["lo"], ends["hi"]
	step, stepped := s.get("multipleOf")
	if lo == nil && hi == nil && !stepped {
		if integers {
			return c.anyInteger(), nil
		}
		return c.anyNumber(), nil
	}
	if lo != nil && hi != nil && (lo.value.Cmp(hi.value) > 0 || lo.value.Cmp(hi.value) == 0 && (lo.open || hi.open)) {
		return nil, fault(path, "leaves no number between its minimum and its maximum")
	}
	e := between(lo, hi, integers)
	if stepped {
		m, err := multiplesOf(step, path+"/multipleOf")
		if err != nil {
			return nil, err
		}
		e = product{a: e, b: sequence{opt(text("-")), m}}
	}
	return e, nil
}

// maxDigits bounds the numbers of a schema.
const maxDigits = 40

func rational(v any, path string) (*big.Rat, error) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, fault(path, "is no number")
	}
	_, exponent, _ := strings.Cut(strings.ToLower(n.String()), "e")
	if e, err := strconv.Atoi(exponent); len(n) > maxDigits || exponent != "" && (err != nil || max(e, -e) > maxDigits) {
		return nil, fault(path, "has more than %d digits", maxDigits)
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return nil, fault(path, "is no number")
	}
	return r, nil
}

// maxUnit bounds the digits of a multipleOf.
const maxUnit = 10_000

func multiplesOf(v any, path string) (m multiples, err error) {
	r, err := rational(v, path)
	if err != nil {
		return m, err
	}
	if r.Sign() <= 0 {
		return m, fault(path, "is not above 0")
	}
	before, after := digitsOf(r)
	unit, err := strconv.Atoi(before + after)
	if err != nil || unit > maxUnit || len(after) > 10 {
		return m, fault(path, "has more digits than can be kept to: at most %d, with up to 10 places", maxUnit)
	}
	return multiples{unit, len(after)}, nil
}
