package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// maxNesting bounds how deep nodes lie in each other. Python ends at 66
// brackets or 200 operands in a row.
const maxNesting = 200

// A parser makes nodes of tokens as Jinja's parser does.
type parser struct {
	tokens []token
	pos    int
	depth  int
	tags   []string   // the open tags
	ends   [][]string // the tags that end the open blocks
}

func parse(source string) []node {
	p := &parser{tokens: tokenize(source)}
	p.check()
	return p.body(nil)
}

// check fails if the current token is a failure.
func (p *parser) check() {
	if t := p.tokens[p.pos]; t.kind == tokenFailure {
		panic(thrown{t.err})
	}
}

func (p *parser) current() token { return p.tokens[p.pos] }

func (p *parser) at() at { return at(p.current().line) }

// ahead is the token after the current one.
func (p *parser) ahead() token {
	if p.pos+1 < len(p.tokens) {
		return p.tokens[p.pos+1]
	}
	return p.current()
}

// next returns the current token and moves on.
func (p *parser) next() token {
	t := p.current()
	if t.kind != tokenEOF {
		p.pos++
		p.check()
	}
	return t
}

func (p *parser) is(kind string) bool { return p.current().kind == kind }

func (p *parser) skip(kind string) bool {
	if p.is(kind) {
		p.next()
		return true
	}
	return false
}

func (p *parser) skipName(word string) bool {
	if p.current().isName(word) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(kind string) token {
	if !p.is(kind) {
		p.unexpected(describeKind(kind))
	}
	return p.next()
}

func (p *parser) expectName(word string) {
	if !p.skipName(word) {
		p.unexpected(word)
	}
}

func (p *parser) unexpected(wanted string) {
	t := p.current()
	if t.kind == tokenEOF {
		failSyntax(t.line, "unexpected end of template, expected '%s'.", wanted)
	}
	failSyntax(t.line, "expected token '%s', got '%s'", wanted, t)
}

func (p *parser) fail(format string, args ...any) {
	failSyntax(p.current().line, format, args...)
}

// deeper counts a level of nesting; it ends where restore is called.
func (p *parser) deeper() {
	if p.depth++; p.depth > maxNesting {
		panic(thrown{&LimitError{What: "levels of nesting", Limit: maxNesting}})
	}
}

func (p *parser) restore(depth int) { p.depth = depth }

// body parses text and tags up to one of the tags ends, which is the current
// token then, or up to the template's end.
func (p *parser) body(ends []string) []node {
	if ends != nil {
		p.ends = append(p.ends, ends)
		defer func() { p.ends = p.ends[:len(p.ends)-1] }()
	}
	var nodes, items []node
	flush := func() {
		if items != nil {
			nodes = append(nodes, &outputNode{at(items[0].line()), items})
			items = nil
		}
	}
	for !p.is(tokenEOF) {
		switch t := p.current(); t.kind {
		case tokenData:
			items = append(items, &constant{at: at(t.line), value: str(t.text), data: true})
			p.next()
		case tokenVariableBegin:
			p.next()
			items = append(items, p.tuple(tupleRules{withCondition: true}))
			p.expect(tokenVariableEnd)
		default: // a tag
			flush()
			p.next()
			if p.is(tokenName) && slices.Contains(ends, p.current().text) {
				return nodes
			}
			nodes = append(nodes, p.statement())
			p.expect(tokenBlockEnd)
		}
	}
	flush()
	return nodes
}

// block parses the body of a tag up to one of the tags ends, which it returns
// and leaves behind.
func (p *parser) block(ends ...string) ([]node, string) {
	p.skip("colon")
	p.expect(tokenBlockEnd)
	nodes := p.body(ends)
	if p.is(tokenEOF) {
		p.ends = append(p.ends, ends)
		p.failTag("Unexpected end of template.", "")
	}
	return nodes, p.next().text
}

// failTag fails at an unknown tag or at the end of the template.
func (p *parser) failTag(message, tag string) {
	if len(p.ends) > 0 {
		last := p.ends[len(p.ends)-1]
		looking := "'" + strings.Join(last, "' or '") + "'"
		mistake := false
		for _, ends := range p.ends {
			mistake = mistake || tag != "" && slices.Contains(ends, tag)
		}
		if mistake {
			message += fmt.Sprintf(" You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for %s.", looking)
		} else {
			message += fmt.Sprintf(" Jinja was looking for the following tags: %s.", looking)
		}
	}
	if len(p.tags) > 0 {
		message += fmt.Sprintf(" The innermost block that needs to be closed is '%s'.", p.tags[len(p.tags)-1])
	}
	p.fail("%s", message)
}
