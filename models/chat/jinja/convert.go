package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Python's int() and float(). Each returns nil where it raises a TypeError or a
// ValueError, which the filters of these names catch.

// parseInt is int(s, base).
func parseInt(s string, base int) Value {
	if base != 0 && (base < 2 || base > 36) {
		return nil
	}
	s = strings.TrimFunc(asciiDigits(s), isSpace)
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	prefixes := map[string]int{"0b": 2, "0o": 8, "0x": 16}
	if len(s) > 2 {
		if of := prefixes[strings.ToLower(s[:2])]; of != 0 && (base == of || base == 0) {
			s, base = strings.TrimPrefix(s[2:], "_"), of
		}
	}
	if base == 0 {
		base = 10
		if len(s) > 1 && s[0] == '0' && strings.Trim(s, "0_") != "" {
			return nil
		}
	}
	if s == "" || s[0] == '_' || s[0] == '-' || s[0] == '+' || s[len(s)-1] == '_' || strings.Contains(s, "__") {
		return nil
	}
	digits := strings.ReplaceAll(s, "_", "")
	if len(digits) > maxDigits && base&(base-1) != 0 {
		return nil
	}
	i, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return nil
	}
	if negative {
		i.Neg(i)
	}
	return whole(i)
}

// parseFloat is float(s).
func parseFloat(s string) (f float64, ok bool) {
	s = strings.TrimFunc(asciiDigits(s), isSpace)
	for i := range len(s) {
		if s[i] == '_' && (i == 0 || i == len(s)-1 || !isDigitByte(s[i-1]) || !isDigitByte(s[i+1])) {
			return 0, false
		}
	}
	s = strings.ReplaceAll(s, "_", "")
	if strings.ContainsAny(s, "xXpP") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

func isDigitByte(c byte) bool { return c >= '0' && c <= '9' }

// truncate is int(f) of a float.
func truncate(f float64) Value {
	switch {
	case math.IsInf(f, 0):
		raise("OverflowError", "cannot convert float infinity to integer")
	case math.IsNaN(f):
		raise("ValueError", "cannot convert float NaN to integer")
	}
	i, _ := big.NewFloat(math.Trunc(f)).Int(nil)
	return whole(i)
}

// asFloat is float(v).
func (r *rendering) asFloat(v Value) (f float64, ok bool) {
	failIfUndefined(v)
	if s, isText := Text(v); isText {
		r.work(len(s))
		return parseFloat(s)
	}
	if !isNumber(v) {
		return 0, false
	}
	return toFloat(v), true
}

func (r *rendering) parseFloatOrRaise(v Value) float64 {
	f, ok := r.asFloat(v)
	if !ok {
		raise("ValueError", "could not convert to float")
	}
	return f
}

func (r *rendering) parseIntOrRaise(v Value) Value {
	r.work(len(textOf(v)))
	i := parseInt(textOf(v), 10)
	if i == nil {
		raise("ValueError", "invalid literal for int() with base 10")
	}
	return i
}
