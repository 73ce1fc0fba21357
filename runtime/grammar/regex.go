package grammar

import (
	"fmt"
	"regexp/syntax"
	"unicode"
)

// Regex is the grammar of the texts that a regular expression matches as a
// whole, in Go's syntax with Perl's classes; anchors are passed over at its ends
// and refused elsewhere, as are word boundaries.
func Regex(pattern string) (*Grammar, error) {
	e, err := regex(pattern, 0)
	if err != nil {
		return nil, err
	}
	return newGrammar([]named{{is: e}}, newBudget())
}

// Choice is the grammar of some texts.
func Choice(texts []string) (*Grammar, error) {
	var all choice
	for _, t := range texts {
		all = append(all, text(t))
	}
	return newGrammar([]named{{is: all}}, newBudget())
}

func regex(pattern string, flags syntax.Flags) (expr, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl|flags)
	if err != nil {
		return nil, err
	}
	return translate(trim(parsed, true))
}

// trim drops the anchors at an expression's ends, which it matches there anyway:
// those of lines only where it is of a whole text.
func trim(re *syntax.Regexp, lines bool) *syntax.Regexp {
	begins := func(op syntax.Op) bool { return op == syntax.OpBeginText || lines && op == syntax.OpBeginLine }
	ends := func(op syntax.Op) bool { return op == syntax.OpEndText || lines && op == syntax.OpEndLine }
	switch {
	case begins(re.Op) || ends(re.Op):
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	case re.Op == syntax.OpConcat:
		for len(re.Sub) > 0 && begins(re.Sub[0].Op) {
			re.Sub = re.Sub[1:]
		}
		for len(re.Sub) > 0 && ends(re.Sub[len(re.Sub)-1].Op) {
			re.Sub = re.Sub[:len(re.Sub)-1]
		}
	}
	return re
}

// search is an expression for the texts in which a pattern matches somewhere, as
// JSON Schema's do: only where it says so at their beginning and end.
func search(pattern string) (expr, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	return around(parsed)
}

func around(re *syntax.Regexp) (expr, error) {
	switch re.Op {
	case syntax.OpCapture:
		return around(re.Sub[0])
	case syntax.OpAlternate:
		var all choice
		for _, sub := range re.Sub {
			e, err := around(sub)
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
		return all, nil
	}
	first, last := re, re
	if re.Op == syntax.OpConcat && len(re.Sub) > 0 {
		first, last = re.Sub[0], re.Sub[len(re.Sub)-1]
	}
	before, after := star(complement(nil)), star(complement(nil))
	if first.Op == syntax.OpBeginText {
		before = nil
	}
	if last.Op == syntax.OpEndText {
		after = nil
	}
	e, err := translate(trim(re, false))
	if err != nil {
		return nil, err
	}
	return sequence{before, e, after}, nil
}

func translate(re *syntax.Regexp) (expr, error) {
	var parts []expr
	for _, sub := range re.Sub {
		e, err := translate(sub)
		if err != nil {
			return nil, err
		}
		parts = append(parts, e)
	}
	switch re.Op {
	case syntax.OpNoMatch:
		return choice{}, nil
	case syntax.OpEmptyMatch:
		return nil, nil
	case syntax.OpLiteral:
		return literal(re), nil
	case syntax.OpCharClass:
		var class runes
		for i := 0; i < len(re.Rune); i += 2 {
			class = append(class, runeRange{re.Rune[i], re.Rune[i+1]})
		}
		return class, nil
	case syntax.OpAnyCharNotNL:
		return complement([]runeRange{{'\n', '\n'}}), nil
	case syntax.OpAnyChar:
		return runes{{0, unicode.MaxRune}}, nil
	case syntax.OpCapture:
		return parts[0], nil
	case syntax.OpStar:
		return star(parts[0]), nil
	case syntax.OpPlus:
		return repeat{parts[0], 1, -1}, nil
	case syntax.OpQuest:
		return opt(parts[0]), nil
	case syntax.OpRepeat:
		return repeat{parts[0], re.Min, re.Max}, nil
	case syntax.OpConcat:
		return sequence(parts), nil
	case syntax.OpAlternate:
		return choice(parts), nil
	}
	return nil, fmt.Errorf("%s is not supported there: leave it out", re)
}

// literal is a text, in any case where (?i) says so.
func literal(re *syntax.Regexp) expr {
	if re.Flags&syntax.FoldCase == 0 {
		return text(string(re.Rune))
	}
	var s sequence
	for _, r := range re.Rune {
		class := runes{{r, r}}
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			class = append(class, runeRange{f, f})
		}
		s = append(s, class)
	}
	return s
}
