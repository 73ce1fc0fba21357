package jinja

import (
	"fmt"
	"strings"
)

var statements = map[string]func(*parser) node{}

func init() {
	// Filled here, since the functions parse statements themselves.
	for tag, f := range map[string]func(*parser) node{
		"for": (*parser).forStatement, "if": (*parser).ifStatement, "set": (*parser).setStatement,
		"with": (*parser).withStatement, "macro": (*parser).macroStatement,
		"call": (*parser).callStatement, "filter": (*parser).filterStatement,
		"generation": (*parser).generationStatement, "block": (*parser).blockStatement,
		"print": (*parser).printStatement, "autoescape": (*parser).autoescapeStatement,
		"extends": (*parser).extendsStatement, "include": (*parser).includeStatement,
		"import": (*parser).importStatement, "from": (*parser).fromStatement,
		"break": (*parser).breakStatement, "continue": (*parser).continueStatement,
	} {
		statements[tag] = f
	}
}

func (p *parser) statement() node {
	defer p.restore(p.depth)
	p.deeper()
	t := p.current()
	if t.kind != tokenName {
		p.fail("tag name expected")
	}
	f, ok := statements[t.text]
	if !ok {
		p.failTag(fmt.Sprintf("Encountered unknown tag '%s'.", t.text), t.text)
	}
	p.tags = append(p.tags, t.text)
	p.next()
	n := f(p)
	p.tags = p.tags[:len(p.tags)-1]
	return n
}

// tagLine is the line of the tag's name, which was just parsed.
func (p *parser) tagLine() at { return at(p.tokens[p.pos-1].line) }

func (p *parser) forStatement() node {
	n := &forNode{at: p.tagLine()}
	n.target = p.target(tupleRules{})
	p.expectName("in")
	n.iter = p.tuple(tupleRules{})
	if p.skipName("if") {
		n.test = p.expression()
	}
	n.recursive = p.skipName("recursive")
	var end string
	n.body, end = p.block("endfor", "else")
	if end == "else" {
		n.orElse, _ = p.block("endfor")
	}
	return n
}

func (p *parser) ifStatement() node {
	result := &ifNode{at: p.tagLine()}
	n := result
	for {
		n.test = p.tuple(tupleRules{})
		var end string
		n.body, end = p.block("elif", "else", "endif")
		switch end {
		case "elif":
			n = &ifNode{at: p.at()}
			result.elifs = append(result.elifs, n)
			continue
		case "else":
			result.orElse, _ = p.block("endif")
		}
		return result
	}
}

func (p *parser) setStatement() node {
	line := p.tagLine()
	target := p.target(tupleRules{namespaces: true})
	if p.skip("assign") {
		return &assignNode{line, target, p.tuple(tupleRules{withCondition: true})}
	}
	n := &assignBlock{at: line, target: target}
	if f := p.filters(nil); f != nil {
		n.filter = f.(*filterNode)
	}
	n.body, _ = p.block("endset")
	return n
}

func (p *parser) withStatement() node {
	n := &withNode{at: p.tagLine()}
	for !p.is(tokenBlockEnd) {
		if len(n.targets) > 0 {
			p.expect("comma")
		}
		target := p.target(tupleRules{})
		setUse(target, param)
		n.targets = append(n.targets, target)
		p.expect("assign")
		n.values = append(n.values, p.expression())
	}
	n.body, _ = p.block("endwith")
	return n
}

func (p *parser) autoescapeStatement() node {
	n := &scopeNode{at: p.tagLine()}
	if c, ok := p.expression().(*constant); !ok || c.value != Bool(false) {
		failSyntax(n.line(), "autoescape is not supported: chat templates are not HTML")
	}
	n.body, _ = p.block("endautoescape")
	return n
}

func (p *parser) blockStatement() node {
	n := &blockNode{at: p.tagLine(), name: p.expect(tokenName).text}
	n.scoped = p.skipName("scoped")
	n.required = p.skipName("required")
	if p.is("sub") {
		p.fail("Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an underscore instead.")
	}
	n.body, _ = p.block("endblock")
	if n.required {
		for _, b := range n.body {
			if !isBlank(b) {
				p.fail("Required blocks can only contain comments or whitespace")
			}
		}
	}
	p.skipName(n.name)
	return n
}

// isBlank says whether the node is white space of the template.
func isBlank(n node) bool {
	output, ok := n.(*outputNode)
	if !ok {
		return false
	}
	for _, item := range output.items {
		c, ok := item.(*constant)
		if !ok || !c.data || strings.TrimFunc(string(c.value.(str)), isSpace) != "" {
			return false
		}
	}
	return true
}

// target parses what is assigned to.
func (p *parser) target(rules tupleRules) node {
	rules.simplified = true
	n := p.tuple(rules)
	setUse(n, store)
	if what := notAssignable(n); what != "" {
		failSyntax(n.line(), "can't assign to '%s'", what)
	}
	return n
}

// targetName parses a name that is assigned to.
func (p *parser) targetName() *name {
	t := p.expect(tokenName)
	n := &name{at(t.line), t.text, store}
	if what := notAssignable(n); what != "" {
		failSyntax(t.line, "can't assign to '%s'", what)
	}
	return n
}

// notAssignable names the kind of node that cannot be assigned to.
func notAssignable(n node) string {
	switch n := n.(type) {
	case *name:
		switch n.name {
		case "true", "false", "none", "True", "False", "None":
			return "name"
		}
		return ""
	case *nsRef:
		return ""
	case *tupleNode:
		for _, item := range n.items {
			if what := notAssignable(item); what != "" {
				return "tuple"
			}
		}
		return ""
	case *constant:
		return "const"
	case *listNode:
		return "list"
	case *dictNode:
		return "dict"
	}
	return "expression"
}

// setUse says how the names in n are used.
func setUse(n node, u use) {
	walk(n, func(n node) bool {
		if n, ok := n.(*name); ok {
			n.use = u
		}
		return true
	})
}

func (p *parser) signature() signature {
	var s signature
	p.expect("lparen")
	for !p.is("rparen") {
		if len(s.params) > 0 {
			p.expect("comma")
		}
		arg := p.targetName()
		arg.use = param
		if p.skip("assign") {
			s.defaults = append(s.defaults, p.expression())
		} else if len(s.defaults) > 0 {
			p.fail("non-default argument follows default argument")
		}
		for _, other := range s.params {
			if other.name == arg.name {
				failSyntax(arg.line(), "duplicate argument '%s' in function definition", arg.name)
			}
		}
		s.params = append(s.params, arg)
	}
	p.expect("rparen")
	return s
}

func (p *parser) macroStatement() node {
	n := &macroNode{at: p.tagLine(), name: p.targetName().name}
	n.signature = p.signature()
	n.body, _ = p.block("endmacro")
	return n
}

func (p *parser) callStatement() node {
	n := &callBlock{at: p.tagLine()}
	if p.is("lparen") {
		n.signature = p.signature()
	}
	call, ok := p.expression().(*callNode)
	if !ok {
		failSyntax(n.line(), "expected call")
	}
	n.call = call
	n.body, _ = p.block("endcall")
	return n
}

func (p *parser) generationStatement() node {
	n := &callBlock{at: p.tagLine()}
	n.body, _ = p.block("endgeneration")
	return n
}

func (p *parser) filterStatement() node {
	n := &filterBlock{at: p.tagLine()}
	n.filter = p.filters(p.filter(nil)).(*filterNode)
	n.body, _ = p.block("endfilter")
	return n
}

func (p *parser) printStatement() node {
	n := &outputNode{at: p.tagLine()}
	for !p.is(tokenBlockEnd) {
		if len(n.items) > 0 {
			p.expect("comma")
		}
		n.items = append(n.items, p.expression())
	}
	return n
}

func (p *parser) breakStatement() node    { return &loopControl{p.tagLine(), signalBreak} }
func (p *parser) continueStatement() node { return &loopControl{p.tagLine(), signalContinue} }

func (p *parser) extendsStatement() node {
	return &templateRef{at: p.tagLine(), template: p.expression(), extends: true}
}

func (p *parser) includeStatement() node {
	n := &templateRef{at: p.tagLine(), template: p.expression()}
	if p.current().isName("ignore") && p.ahead().isName("missing") {
		p.next()
		p.next()
		n.ignoreMissing = true
	}
	p.importContext()
	return n
}

// importContext parses "with context" and "without context".
func (p *parser) importContext() bool {
	if (p.current().isName("with") || p.current().isName("without")) && p.ahead().isName("context") {
		p.next()
		p.next()
		return true
	}
	return false
}

func (p *parser) importStatement() node {
	n := &templateRef{at: p.tagLine(), template: p.expression()}
	p.expectName("as")
	n.names = []string{p.targetName().name}
	p.importContext()
	return n
}

func (p *parser) fromStatement() node {
	n := &templateRef{at: p.tagLine(), template: p.expression()}
	p.expectName("import")
	for {
		if len(n.names) > 0 {
			p.expect("comma")
		}
		if !p.is(tokenName) {
			p.expect(tokenName)
		}
		if p.importContext() {
			break
		}
		target := p.targetName()
		if strings.HasPrefix(target.name, "_") {
			failSyntax(target.line(), "names starting with an underline can not be imported")
		}
		if p.skipName("as") {
			target = p.targetName()
		}
		n.names = append(n.names, target.name)
		if p.importContext() || !p.is("comma") {
			break
		}
	}
	return n
}
