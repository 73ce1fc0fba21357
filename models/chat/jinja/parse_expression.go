package jinja

import (
	"slices"
	"strings"
)

func (p *parser) expression() node { return p.conditional() }

func (p *parser) conditional() node {
	defer p.restore(p.depth)
	line := p.at()
	n := p.or()
	for p.skipName("if") {
		p.deeper()
		c := &condNode{at: line, then: n, test: p.or()}
		if p.skipName("else") {
			c.otherwise = p.conditional()
		}
		n = c
		line = p.at()
	}
	return n
}

// leftToRight parses operands of one precedence with operators between them.
func (p *parser) leftToRight(operand func() node, operator func() string) node {
	defer p.restore(p.depth)
	line := p.at()
	n := operand()
	for {
		op := operator()
		if op == "" {
			return n
		}
		p.deeper()
		p.next()
		n = &binaryNode{line, op, n, operand()}
		line = p.at()
	}
}

// oneOf returns the kind of the current token if it is one of these.
func (p *parser) oneOf(kinds ...string) func() string {
	return func() string {
		if slices.Contains(kinds, p.current().kind) {
			return p.current().kind
		}
		return ""
	}
}

func (p *parser) word(word string) func() string {
	return func() string {
		if p.current().isName(word) {
			return word
		}
		return ""
	}
}

func (p *parser) or() node  { return p.leftToRight(p.and, p.word("or")) }
func (p *parser) and() node { return p.leftToRight(p.not, p.word("and")) }

func (p *parser) not() node {
	if !p.current().isName("not") {
		return p.compare()
	}
	defer p.restore(p.depth)
	p.deeper()
	line := p.at()
	p.next()
	return &unaryNode{line, "not", p.not()}
}

func (p *parser) compare() node {
	line := p.at()
	first := p.sum()
	var rest []operand
	for {
		op := p.current().kind
		switch {
		case slices.Contains([]string{"eq", "ne", "lt", "lteq", "gt", "gteq"}, op):
			p.next()
		case p.skipName("in"):
			op = "in"
		case p.current().isName("not") && p.ahead().isName("in"):
			p.next()
			p.next()
			op = "notin"
		default:
			if rest == nil {
				return first
			}
			return &compareNode{line, first, rest}
		}
		rest = append(rest, operand{op, p.sum()})
		line = p.at()
	}
}

func (p *parser) sum() node { return p.leftToRight(p.concat, p.oneOf("add", "sub")) }

func (p *parser) concat() node {
	line := p.at()
	items := []node{p.product()}
	for p.skip("tilde") {
		items = append(items, p.product())
	}
	if len(items) == 1 {
		return items[0]
	}
	return &concatNode{line, items}
}

func (p *parser) product() node {
	return p.leftToRight(p.power, p.oneOf("mul", "div", "floordiv", "mod"))
}

func (p *parser) power() node {
	return p.leftToRight(func() node { return p.unary(true) }, p.oneOf("pow"))
}

func (p *parser) unary(withFilter bool) node {
	defer p.restore(p.depth)
	p.deeper()
	line := p.at()
	var n node
	switch {
	case p.is("sub"), p.is("add"):
		op := p.next().kind
		n = &unaryNode{line, op, p.unary(false)}
	default:
		n = p.primary(false)
	}
	n = p.postfix(n)
	if withFilter {
		n = p.filterExpression(n)
	}
	return n
}

// primary parses a name, a literal or what is in brackets; with namespaces also
// ns.attr as a target.
func (p *parser) primary(namespaces bool) node {
	defer p.restore(p.depth)
	p.deeper()
	t := p.current()
	line := at(t.line)
	switch t.kind {
	case tokenName:
		p.next()
		switch t.text {
		case "true", "True":
			return &constant{at: line, value: Bool(true)}
		case "false", "False":
			return &constant{at: line, value: Bool(false)}
		case "none", "None":
			return &constant{at: line, value: None}
		}
		if namespaces && p.skip("dot") {
			return &nsRef{line, t.text, p.expect(tokenName).text}
		}
		return &name{line, t.text, load}
	case tokenString:
		var b strings.Builder
		for p.is(tokenString) {
			b.WriteString(p.next().text)
		}
		return &constant{at: line, value: str(b.String())}
	case tokenInteger, tokenFloat:
		p.next()
		return &constant{at: line, value: t.num}
	case "lparen":
		p.next()
		n := p.tuple(tupleRules{withCondition: true, brackets: true})
		p.expect("rparen")
		return n
	case "lbracket":
		p.next()
		return &listNode{line, p.items("rbracket", p.expression)}
	case "lbrace":
		p.next()
		d := &dictNode{at: line}
		p.items("rbrace", func() node {
			key := p.expression()
			p.expect("colon")
			d.keys = append(d.keys, key)
			d.values = append(d.values, p.expression())
			return key
		})
		return d
	}
	failSyntax(t.line, "unexpected '%s'", t)
	return nil
}

// items parses what lies between commas up to the token end.
func (p *parser) items(end string, item func() node) []node {
	items := []node{}
	for !p.is(end) {
		if len(items) > 0 {
			p.expect("comma")
			if p.is(end) {
				break
			}
		}
		items = append(items, item())
	}
	p.expect(end)
	return items
}

// tupleRules says how to parse expressions between commas without brackets of
// their own.
type tupleRules struct {
	simplified    bool // names and literals only
	namespaces    bool // and ns.attr
	withCondition bool // "a if b" is an expression
	brackets      bool // the empty tuple is one
}

func (p *parser) tuple(rules tupleRules) node {
	line := p.at()
	items := []node{}
	isTuple := false
	for {
		if len(items) > 0 {
			p.expect("comma")
		}
		if p.is(tokenVariableEnd) || p.is(tokenBlockEnd) || p.is("rparen") {
			break
		}
		switch {
		case rules.simplified:
			items = append(items, p.primary(rules.namespaces))
		case rules.withCondition:
			items = append(items, p.expression())
		default:
			items = append(items, p.or())
		}
		if !p.is("comma") {
			break
		}
		isTuple = true
		line = p.at()
	}
	if !isTuple {
		if len(items) > 0 {
			return items[0]
		}
		if !rules.brackets {
			p.fail("Expected an expression, got '%s'", p.current())
		}
	}
	return &tupleNode{line, items}
}

// postfix parses subscripts and calls after n.
func (p *parser) postfix(n node) node {
	defer p.restore(p.depth)
	for {
		switch p.current().kind {
		case "dot", "lbracket":
			p.deeper()
			n = p.subscript(n)
		case "lparen":
			p.deeper()
			n = p.call(n)
		default:
			return n
		}
	}
}

// filterExpression parses filters, tests and calls after n.
func (p *parser) filterExpression(n node) node {
	defer p.restore(p.depth)
	for {
		switch {
		case p.is("pipe"):
			n = p.filters(n)
		case p.current().isName("is"):
			p.deeper()
			n = p.test(n)
		case p.is("lparen"):
			p.deeper()
			n = p.call(n)
		default:
			return n
		}
	}
}

func (p *parser) subscript(object node) node {
	t := p.next()
	line := at(t.line)
	if t.kind == "dot" {
		attr := p.next()
		switch attr.kind {
		case tokenName:
			return &attrNode{line, object, attr.text}
		case tokenInteger:
			return &itemNode{line, object, &constant{at: at(attr.line), value: attr.num}}
		}
		failSyntax(attr.line, "expected name or number")
	}
	var args []node
	for !p.is("rbracket") {
		if len(args) > 0 {
			p.expect("comma")
		}
		args = append(args, p.subscribed())
	}
	p.expect("rbracket")
	if len(args) == 1 {
		return &itemNode{line, object, args[0]}
	}
	for _, arg := range args {
		if _, ok := arg.(*sliceNode); ok {
			failSyntax(t.line, "invalid syntax: a slice among other subscripts")
		}
	}
	return &itemNode{line, object, &tupleNode{line, args}}
}

// subscribed parses an index or a slice.
func (p *parser) subscribed() node {
	s := &sliceNode{at: p.at()}
	if !p.is("colon") {
		n := p.expression()
		if !p.is("colon") {
			return n
		}
		s.start = n
	}
	p.next()
	end := func() bool { return p.is("rbracket") || p.is("comma") }
	if !p.is("colon") && !end() {
		s.stop = p.expression()
	}
	if p.skip("colon") && !end() {
		s.step = p.expression()
	}
	return s
}

func (p *parser) call(callee node) node {
	line := p.at()
	return &callNode{line, callee, p.arguments()}
}

func (p *parser) arguments() arguments {
	var a arguments
	line := p.expect("lparen").line
	ensure := func(ok bool) {
		if !ok {
			failSyntax(line, "invalid syntax for function call expression")
		}
	}
	for first := true; !p.is("rparen"); first = false {
		if !first {
			p.expect("comma")
			if p.is("rparen") {
				break
			}
		}
		switch {
		case p.is("mul"):
			ensure(a.star == nil && a.doubleStar == nil)
			p.next()
			a.star = p.expression()
		case p.is("pow"):
			ensure(a.doubleStar == nil)
			p.next()
			a.doubleStar = p.expression()
		case p.is(tokenName) && p.ahead().kind == "assign":
			ensure(a.doubleStar == nil)
			key := p.next()
			p.next()
			for _, k := range a.keywords {
				if k.name == key.text {
					failSyntax(key.line, "keyword argument repeated: %s", key.text)
				}
			}
			a.keywords = append(a.keywords, keyword{key.text, p.expression()})
		default:
			ensure(a.star == nil && a.doubleStar == nil && len(a.keywords) == 0)
			a.positional = append(a.positional, p.expression())
		}
	}
	p.expect("rparen")
	return a
}

// filters parses the filters after n, if there are any.
func (p *parser) filters(n node) node {
	defer p.restore(p.depth)
	for p.skip("pipe") {
		p.deeper()
		n = p.filter(n)
	}
	return n
}

// filter parses the name and the arguments of one filter.
func (p *parser) filter(operand node) node {
	line := p.at()
	f := &filterNode{at: line, operand: operand, name: p.dottedName()}
	if p.is("lparen") {
		f.args = p.arguments()
	}
	return f
}

func (p *parser) dottedName() string {
	s := p.expect(tokenName).text
	for p.skip("dot") {
		s += "." + p.expect(tokenName).text
	}
	return s
}

func (p *parser) test(operand node) node {
	line := at(p.next().line)
	negated := p.skipName("not")
	t := &filterNode{at: line, isTest: true, operand: operand, name: p.dottedName()}
	switch p.current().kind {
	case "lparen":
		t.args = p.arguments()
	case tokenName, tokenString, tokenInteger, tokenFloat, "lbracket", "lbrace":
		c := p.current()
		if c.isName("else") || c.isName("or") || c.isName("and") {
			break
		}
		if c.isName("is") {
			p.fail("You cannot chain multiple tests with is")
		}
		t.args.positional = []node{p.postfix(p.primary(false))}
	}
	if negated {
		return &unaryNode{line, "not", t}
	}
	return t
}
