package jinja

import (
	"math"
	"math/big"
)

// powerBits is the precision of a power before it is rounded: so many bits that
// the result is the nearest float, as that of C's pow, which Go's math.Pow is
// not always.
const powerBits = 256

// floatPower is x ** y of floats.
func (r *rendering) floatPower(x, y float64) Value {
	r.step(1000)
	switch {
	case x == 0 && y < 0:
		raise("ZeroDivisionError", "0.0 cannot be raised to a negative power")
	case x < 0 && !math.IsInf(x, 0) && !math.IsInf(y, 0) && y != math.Floor(y):
		raise("NotImplementedError", "a complex number: a negative number to a fractional power")
	}
	f := math.Pow(x, y)
	if math.IsInf(f, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		raise("OverflowError", "(34, 'Numerical result out of range')")
	}
	if f == 0 || math.IsInf(f, 0) || math.IsNaN(f) || x == 0 || math.IsInf(x, 0) || math.IsInf(y, 0) {
		return float(f)
	}
	exact, _ := exponential(precise().Mul(precise().SetFloat64(y), logarithm(math.Abs(x)))).Float64()
	return float(math.Copysign(exact, f))
}

func precise() *big.Float { return new(big.Float).SetPrec(powerBits) }

// logarithm is the natural logarithm of a positive number.
func logarithm(x float64) *big.Float {
	mantissa, exponent := math.Frexp(x)
	l := precise().Mul(precise().SetInt64(int64(exponent)), ln2)
	return l.Add(l, logarithmOf(precise().SetFloat64(mantissa)))
}

var ln2 = precise().Neg(logarithmOf(precise().SetFloat64(0.5)))

// logarithmOf is the logarithm of a number from 1/2 to 1, by the series of the
// inverse hyperbolic tangent.
func logarithmOf(m *big.Float) *big.Float {
	one := precise().SetInt64(1)
	t := precise().Quo(precise().Sub(m, one), precise().Add(m, one))
	square := precise().Mul(t, t)
	sum := precise()
	for k := int64(1); k < 2*powerBits/3; k += 2 {
		sum.Add(sum, precise().Quo(t, precise().SetInt64(k)))
		t.Mul(t, square)
	}
	return sum.Mul(sum, precise().SetInt64(2))
}

// exponential is e to the power z.
func exponential(z *big.Float) *big.Float {
	n, _ := precise().Quo(z, ln2).Int64()
	z = precise().Sub(z, precise().Mul(precise().SetInt64(n), ln2))
	const halvings = 8
	z.SetMantExp(z, -halvings)
	sum, term := precise().SetInt64(1), precise().SetInt64(1)
	for k := int64(1); k < 40; k++ {
		term.Mul(term, z)
		term.Quo(term, precise().SetInt64(k))
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum.SetMantExp(sum, int(n))
}
