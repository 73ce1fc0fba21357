package jinja

import (
	"math"
	"math/big"
	"math/bits"
)

// small returns v as an int64 if it is a whole number or a boolean of that size.
func small(v Value) (int64, bool) {
	switch v := v.(type) {
	case integer:
		return int64(v), true
	case boolean:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// asBig returns v if it is a whole number or a boolean.
func asBig(v Value) (*big.Int, bool) {
	if b, ok := v.(bigint); ok {
		return b.Int, true
	}
	i, ok := small(v)
	return big.NewInt(i), ok
}

// whole is the number of a big integer, which is not used elsewhere.
func whole(i *big.Int) Value {
	if i.IsInt64() {
		return integer(i.Int64())
	}
	return bigint{i}
}

func isWhole(v Value) bool {
	switch v.(type) {
	case boolean, integer, bigint:
		return true
	}
	return false
}

func isNumber(v Value) bool {
	_, ok := v.(float)
	return ok || isWhole(v)
}

// toFloat is Python's conversion of a number to a float.
func toFloat(v Value) float64 {
	switch v := v.(type) {
	case float:
		return float64(v)
	case bigint:
		f, _ := new(big.Float).SetInt(v.Int).Float64()
		if math.IsInf(f, 0) {
			raise("OverflowError", "int too large to convert to float")
		}
		return f
	}
	i, _ := small(v)
	return float64(i)
}

// index is v as an index, which Python bounds to the size of an int64.
func index(v Value) int {
	if b, ok := v.(bigint); ok {
		if b.Sign() < 0 {
			return math.MinInt64
		}
		return math.MaxInt64
	}
	i, ok := small(v)
	if !ok {
		raise("TypeError", "'%s' object cannot be interpreted as an integer", v.typeName())
	}
	return int(i)
}

// countArg is index for a size, which must fit an int64.
func countArg(v Value) int {
	if _, ok := v.(bigint); ok {
		raise("OverflowError", "Python int too large to convert to C ssize_t")
	}
	return index(v)
}

func bigWords(v Value) int {
	if b, ok := v.(bigint); ok {
		return len(b.Bits())
	}
	return 1
}

// arithmetic applies an operator to two numbers.
func (r *rendering) arithmetic(op string, a, b Value) Value {
	_, aFloat := a.(float)
	_, bFloat := b.(float)
	if aFloat || bFloat {
		if op == "pow" {
			return r.floatPower(toFloat(a), toFloat(b))
		}
		return floatArithmetic(op, toFloat(a), toFloat(b))
	}
	i, ok := small(a)
	if j, ok2 := small(b); ok && ok2 {
		if v := smallArithmetic(op, i, j); v != nil {
			return v
		}
	}
	x, _ := asBig(a)
	y, _ := asBig(b)
	r.hold(8 * (bigWords(a) + bigWords(b)))
	switch op {
	case "add":
		return whole(new(big.Int).Add(x, y))
	case "sub":
		return whole(new(big.Int).Sub(x, y))
	case "mul":
		r.step(times(bigWords(a), bigWords(b)) / 8)
		return whole(new(big.Int).Mul(x, y))
	case "pow":
		return r.power(x, y)
	}
	if y.Sign() == 0 {
		raise("ZeroDivisionError", "%s", zeroDivision(op))
	}
	r.step(times(bigWords(a), bigWords(b)) / 8)
	if op == "div" {
		f, _ := new(big.Rat).SetFrac(x, y).Float64()
		if math.IsInf(f, 0) {
			raise("OverflowError", "integer division result too large for a float")
		}
		return float(f)
	}
	quotient, rest := new(big.Int).QuoRem(x, y, new(big.Int))
	if rest.Sign() != 0 && rest.Sign() != y.Sign() {
		quotient.Sub(quotient, big.NewInt(1))
		rest.Add(rest, y)
	}
	if op == "mod" {
		return whole(rest)
	}
	return whole(quotient)
}

func zeroDivision(op string) string {
	switch op {
	case "div":
		return "division by zero"
	case "mod":
		return "integer modulo by zero"
	}
	return "integer division or modulo by zero"
}

// smallArithmetic returns nil where the result may need more than an int64.
func smallArithmetic(op string, i, j int64) Value {
	switch op {
	case "add":
		if s := i + j; (s > i) == (j > 0) {
			return integer(s)
		}
	case "sub":
		if d := i - j; (d < i) == (j > 0) {
			return integer(d)
		}
	case "mul":
		if hi, lo := bits.Mul64(magnitude(i), magnitude(j)); hi == 0 && lo <= math.MaxInt64 {
			return integer(i * j)
		}
	case "div":
		const exact = 1 << 53
		if j != 0 && magnitude(i) <= exact && magnitude(j) <= exact {
			return float(float64(i) / float64(j))
		}
	case "floordiv", "mod":
		if j == 0 || i == math.MinInt64 {
			return nil
		}
		q, m := i/j, i%j
		if m != 0 && (m < 0) != (j < 0) {
			q--
			m += j
		}
		if op == "mod" {
			return integer(m)
		}
		return integer(q)
	}
	return nil
}

func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}

// power raises a whole number to a whole power.
func (r *rendering) power(x, y *big.Int) Value {
	if y.Sign() < 0 {
		return r.floatPower(toFloat(whole(x)), toFloat(whole(y)))
	}
	if x.BitLen() <= 1 {
		// 0, 1 or -1: the power counts only as zero, odd or even.
		if y.Sign() > 0 {
			y = big.NewInt(2 - int64(y.Bit(0)))
		}
	} else {
		bits := times(x.BitLen(), index(whole(y)))
		r.hold(bits / 8)
		r.step(times(bits/64, bits/64) / 8)
	}
	return whole(new(big.Int).Exp(x, y, nil))
}

func floatArithmetic(op string, x, y float64) Value {
	switch op {
	case "add":
		return float(x + y)
	case "sub":
		return float(x - y)
	case "mul":
		return float(x * y)
	}
	if y == 0 {
		raise("ZeroDivisionError", "%s", map[string]string{
			"div": "float division by zero", "mod": "float modulo", "floordiv": "float floor division by zero",
		}[op])
	}
	if op == "div" {
		return float(x / y)
	}
	mod := math.Mod(x, y)
	div := (x - mod) / y
	if mod != 0 {
		if (y < 0) != (mod < 0) {
			mod += y
			div--
		}
	} else {
		mod = math.Copysign(0, y)
	}
	if op == "mod" {
		return float(mod)
	}
	if div == 0 {
		return float(math.Copysign(0, x/y))
	}
	floor := math.Floor(div)
	if div-floor > 0.5 {
		floor++
	}
	return float(floor)
}

// negate is Python's -v.
func (r *rendering) negate(v Value) Value {
	failIfUndefined(v)
	switch v := v.(type) {
	case float:
		return -v
	case boolean, integer, bigint:
		return r.arithmetic("sub", integer(0), v)
	}
	raise("TypeError", "bad operand type for unary -: '%s'", v.typeName())
	return nil
}

// plus is Python's +v.
func plus(v Value) Value {
	failIfUndefined(v)
	if !isNumber(v) {
		raise("TypeError", "bad operand type for unary +: '%s'", v.typeName())
	}
	if i, ok := small(v); ok {
		return integer(i)
	}
	return v
}
