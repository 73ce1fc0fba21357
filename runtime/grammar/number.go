package grammar

import (
	"math/big"
	"strings"
)

// digit is one from one to another.
func digit(lo, hi byte) expr { return runes{{rune(lo), rune(hi)}} }

var (
	anyDigit = digit('0', '9')
	whole    = choice{text("0"), sequence{digit('1', '9'), star(anyDigit)}}
	integer  = choice{text("0"), sequence{opt(text("-")), digit('1', '9'), star(anyDigit)}}
	fraction = sequence{text("."), repeat{anyDigit, 1, -1}}
	number   = sequence{opt(text("-")), whole, opt(fraction)}
)

// bound is one end of a range; nil is none.
type bound struct {
	value *big.Rat
	open  bool // the value itself is outside
}

// between are the decimals without an exponent in a range, or its integers.
func between(lo, hi *bound, integers bool) expr {
	decimals := expr(sequence{whole, opt(fraction)})
	if integers {
		decimals = whole
	}
	side := func(least, most *bound) expr {
		e := decimals
		if least != nil {
			e = product{a: e, b: above(*least)}
		}
		if most != nil {
			e = product{a: e, b: below(*most)}
		}
		return e
	}
	var sides choice
	if hi == nil || hi.value.Sign() >= 0 {
		sides = append(sides, side(notBelowZero(lo), hi))
	}
	if lo == nil || lo.value.Sign() < 0 {
		negative := side(notBelowZero(negate(hi)), negate(lo))
		if integers {
			negative = product{a: negative, b: text("0"), without: true}
		}
		sides = append(sides, sequence{text("-"), negative})
	}
	return sides
}

func negate(b *bound) *bound {
	if b == nil {
		return nil
	}
	return &bound{new(big.Rat).Neg(b.value), b.open}
}

// notBelowZero is a lower end of what has no sign.
func notBelowZero(b *bound) *bound {
	if b == nil || b.value.Sign() < 0 {
		return nil
	}
	return b
}

// digitsOf are a number's, before and after the point.
func digitsOf(r *big.Rat) (before, after string) {
	places, exact := r.FloatPrec()
	if !exact {
		places = 0 // a schema's numbers are decimals
	}
	before, after, _ = strings.Cut(r.FloatString(places), ".")
	return before, after
}

// above are the decimals of at least b, or of more: those with more or larger
// digits before the point, or with the same and a fraction that is large enough.
func above(b bound) expr {
	before, after := digitsOf(b.value)
	rest := star(anyDigit)
	larger := choice{sequence{digit('1', '9'), repeat{anyDigit, len(before), -1}}}
	for i := range len(before) {
		if before[i] < '9' {
			larger = append(larger, sequence{text(before[:i]), digit(max(before[i]+1, first(i, before)), '9'), repeat{anyDigit, len(before) - i - 1, len(before) - i - 1}})
		}
	}
	all := choice{sequence{larger, opt(fraction)}}
	zeros := func(i int) bool { return strings.Trim(after[i:], "0") == "" }
	if zeros(0) && !b.open {
		all = append(all, text(before))
	}
	prefix := before + "."
	for i := range len(after) {
		if after[i] < '9' {
			all = append(all, sequence{text(prefix + after[:i]), digit(after[i]+1, '9'), rest})
		}
		if i > 0 && zeros(i) && !b.open {
			all = append(all, text(prefix+after[:i]))
		}
	}
	switch {
	case !b.open && after != "":
		all = append(all, sequence{text(prefix + after), rest})
	case !b.open:
		all = append(all, sequence{text(prefix), repeat{anyDigit, 1, -1}})
	default:
		all = append(all, sequence{text(prefix + after), rest, digit('1', '9'), rest})
	}
	return all
}

// first is the least digit at a place: a number of several has no zero at its
// head.
func first(i int, digits string) byte {
	if i == 0 && len(digits) > 1 {
		return '1'
	}
	return '0'
}

// below are the decimals of at most b, or of less.
func below(b bound) expr {
	before, after := digitsOf(b.value)
	rest := star(anyDigit)
	var smaller choice
	if len(before) > 1 {
		smaller = append(smaller, text("0"))
		if len(before) > 2 {
			smaller = append(smaller, sequence{digit('1', '9'), repeat{anyDigit, 0, len(before) - 2}})
		} else {
			smaller = append(smaller, digit('1', '9'))
		}
	}
	for i := range len(before) {
		if least := first(i, before); before[i] > least {
			smaller = append(smaller, sequence{text(before[:i]), digit(least, before[i]-1), repeat{anyDigit, len(before) - i - 1, len(before) - i - 1}})
		}
	}
	all := choice{sequence{smaller, opt(fraction)}}
	nonzero := func(i int) bool { return strings.Trim(after[i:], "0") != "" }
	if !b.open || nonzero(0) {
		all = append(all, text(before))
	}
	prefix := before + "."
	for i := range len(after) {
		if after[i] > '0' {
			all = append(all, sequence{text(prefix + after[:i]), digit('0', after[i]-1), rest})
		}
		if i > 0 && (!b.open || nonzero(i)) {
			all = append(all, text(prefix+after[:i]))
		}
	}
	if !b.open {
		if after == "" {
			all = append(all, sequence{text(prefix), repeat{text("0"), 1, -1}})
		} else {
			all = append(all, sequence{text(prefix + after), star(text("0"))})
		}
	}
	return all
}

// multiples are the decimals that are whole multiples of unit/10^places, signs
// apart.
type multiples struct{ unit, places int }

func (m multiples) build(b *builder, from, to int) {
	// A state is the remainder of the digits so far and how many of them stand
	// after the point, -1 being those before it.
	states := make([][]int, m.places+2)
	for i := range states {
		states[i] = make([]int, m.unit)
		for j := range states[i] {
			if states[i][j] = b.state(); b.fault != nil {
				return
			}
		}
	}
	scale := make([]int, m.places+1) // 10^i modulo unit
	scale[0] = 1 % m.unit
	for i := 1; i <= m.places; i++ {
		scale[i] = scale[i-1] * 10 % m.unit
	}
	b.skip(from, states[0][0])
	for row := range states {
		after := max(row-1, 0)
		for remainder, state := range states[row] {
			if row != 1 && remainder*scale[m.places-after]%m.unit == 0 { // something stands after a point
				b.skip(state, to)
			}
			if row == 0 {
				b.edge(state, '.', '.', states[1][remainder])
			}
			for d := range 10 {
				switch {
				case row == 0:
					b.edge(state, byte('0'+d), byte('0'+d), states[0][(remainder*10+d)%m.unit])
				case after < m.places:
					b.edge(state, byte('0'+d), byte('0'+d), states[row+1][(remainder*10+d)%m.unit])
				case d == 0 && after == m.places && row > 0 && remainder == 0:
					// further zeros change nothing
					tail := b.state()
					b.edge(state, '0', '0', tail)
					b.edge(tail, '0', '0', tail)
					b.skip(tail, to)
				}
			}
		}
	}
}
