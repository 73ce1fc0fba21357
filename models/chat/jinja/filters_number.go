package jinja

import (
	"math"
	"math/big"
	"strconv"
)

func init() {
	addFilters(map[string]func(r *rendering, a []Value) Value{
		"abs(x, /)": func(r *rendering, a []Value) Value {
			if !isNumber(a[0]) {
				raise("TypeError", "bad operand type for abs(): '%s'", a[0].typeName())
			}
			if f, ok := a[0].(float); ok {
				return float(math.Abs(float64(f)))
			}
			if i, _ := asBig(a[0]); i.Sign() < 0 {
				return r.negate(a[0])
			}
			return plus(a[0])
		},
		"int(value, default=, base=)": toInt,
		"float(value, default=)": func(r *rendering, a []Value) Value {
			if f, ok := r.asFloat(a[0]); ok {
				return float(f)
			}
			return orDefault(a[1], float(0))
		},
		"round(value, precision=, method=)": round,
	})
}

func toInt(r *rendering, a []Value) Value {
	value, base := a[0], orDefault(a[2], integer(10))
	otherwise := orDefault(a[1], integer(0))
	failIfUndefined(value)
	if s, ok := Text(value); ok {
		r.work(len(s))
		if isWhole(base) {
			if v := parseInt(s, index(base)); v != nil {
				return v
			}
		}
		f, ok := parseFloat(s)
		if !ok || math.IsInf(f, 0) || math.IsNaN(f) {
			return otherwise
		}
		return truncate(f)
	}
	switch v := value.(type) {
	case float:
		if math.IsInf(float64(v), 0) {
			raise("OverflowError", "cannot convert float infinity to integer")
		}
		if math.IsNaN(float64(v)) {
			return otherwise
		}
		return truncate(float64(v))
	case boolean, integer, bigint:
		return plus(v)
	}
	return otherwise
}

func round(r *rendering, a []Value) Value {
	method := "common"
	if a[2] != nil {
		m, ok := Text(a[2])
		if !ok {
			r.mustHash(a[2])
			m = ""
		}
		method = m
	}
	precision := orDefault(a[1], integer(0))
	switch method {
	case "common":
		return r.roundTo(a[0], precision)
	case "ceil", "floor":
	default:
		raise("FilterArgumentError", "method must be common, ceil or floor")
	}
	scale := r.binary("pow", integer(10), precision)
	scaled := r.binary("mul", a[0], scale)
	if !isNumber(scaled) {
		raise("TypeError", "must be real number, not %s", scaled.typeName())
	}
	if f, ok := scaled.(float); ok {
		if method == "ceil" {
			scaled = truncate(math.Ceil(float64(f)))
		} else {
			scaled = truncate(math.Floor(float64(f)))
		}
	}
	return r.binary("div", scaled, scale)
}

// roundTo is Python's round(v, precision).
func (r *rendering) roundTo(v, precision Value) Value {
	if !isNumber(v) {
		raise("TypeError", "type %s doesn't define __round__ method", v.typeName())
	}
	if precision == None {
		if f, ok := v.(float); ok {
			return truncate(math.RoundToEven(float64(f)))
		}
		return plus(v)
	}
	n := index(precision)
	r.stepFloat(min(n, 400))
	f, ok := v.(float)
	if !ok {
		return r.roundWhole(v, n)
	}
	switch x := float64(f); {
	case math.IsInf(x, 0) || math.IsNaN(x) || n > 400:
		return f
	case n < -400:
		return float(math.Copysign(0, x))
	case n >= 0:
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', n, 64), 64)
		if err != nil {
			raise("OverflowError", "rounded value too large to represent")
		}
		return float(rounded)
	}
	// The exact number, rounded half to even.
	r.step(200)
	exact := new(big.Rat)
	exact.SetFloat64(float64(f))
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-n)), nil)
	exact.Quo(exact, new(big.Rat).SetInt(scale))
	whole := roundHalfEven(exact)
	rounded, _ := new(big.Rat).SetInt(whole.Mul(whole, scale)).Float64()
	if math.IsInf(rounded, 0) {
		raise("OverflowError", "rounded value too large to represent")
	}
	if rounded == 0 {
		rounded = math.Copysign(0, float64(f))
	}
	return float(rounded)
}

func (r *rendering) roundWhole(v Value, n int) Value {
	if n >= 0 {
		return plus(v)
	}
	i, _ := asBig(v)
	if -n > 20*bigWords(v)+20 {
		return integer(0)
	}
	r.step(100 + times(bigWords(v), bigWords(v)))
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-n)), nil)
	rounded := roundHalfEven(new(big.Rat).SetFrac(i, scale))
	return whole(rounded.Mul(rounded, scale))
}

func roundHalfEven(x *big.Rat) *big.Int {
	twice := new(big.Int).Mul(x.Num(), big.NewInt(2))
	twice.Add(twice, x.Denom())
	q, rest := new(big.Int).DivMod(twice, new(big.Int).Mul(x.Denom(), big.NewInt(2)), new(big.Int))
	if rest.Sign() == 0 && q.Bit(0) == 1 {
		q.Sub(q, big.NewInt(1))
	}
	return q
}
