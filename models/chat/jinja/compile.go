package jinja

import (
	"maps"
	"slices"
	"strings"
)

// An evaluator computes an expression, an executor runs statements. A template
// is compiled to these as Jinja compiles it to functions of Python.
type (
	evaluator func(*activation) Value
	executor  func(*activation) signal
)

// A signal is how statements end.
type signal int

const (
	signalNone signal = iota
	signalBreak
	signalContinue
)

// A fn is a function of the compiled template: a place for each of the idents
// of its scopes.
type fn struct {
	base  int // the level of its first scope
	outer *fn
	slots map[ident]int
}

func newFn(base int, outer *fn) *fn { return &fn{base, outer, map[ident]int{}} }

func (f *fn) activate(r *rendering, outer *activation, env *environment, out *buffer) *activation {
	return &activation{r: r, slots: make([]Value, len(f.slots)), outer: outer, env: env, out: out}
}

// place finds the function that has the ident, and its slot there.
func (f *fn) place(i ident) (hops, slot int) {
	for f.base > i.level {
		f = f.outer
		hops++
	}
	slot, ok := f.slots[i]
	if !ok {
		slot = len(f.slots)
		f.slots[i] = slot
	}
	return hops, slot
}

// A scope is where names of the template are found as it is compiled
// (jinja2.compiler.Frame).
type scope struct {
	symbols  *symbols
	fn       *fn
	toplevel bool // of the template itself, also within an if
	soft     bool // within an if: unknown filters fail as they are called
	loops    int  // of this function around the place
}

// inner is a new scope inside s.
func (s scope) inner() scope {
	return scope{symbols: newSymbols(s.symbols), fn: s.fn, loops: s.loops}
}

// innerFunction is a new scope that is a function of its own.
func (s scope) innerFunction() scope {
	i := s.inner()
	i.fn = newFn(i.symbols.level, s.fn)
	i.loops = 0
	return i
}

func (s scope) softened() scope {
	s.soft = true
	return s
}

// ref is the ident of a name.
func (s scope) ref(n node, name string) ident {
	i, ok := s.symbols.findRef(name)
	if !ok {
		failSyntax(n.line(), "'%s' is not known here: Jinja does not look at the arguments of a set block's filter", name)
	}
	return i
}

func (s scope) get(i ident) evaluator {
	hops, slot := s.fn.place(i)
	switch hops {
	case 0:
		return func(a *activation) Value { return a.slots[slot] }
	case 1:
		return func(a *activation) Value { return a.outer.slots[slot] }
	}
	return func(a *activation) Value { return a.up(hops).slots[slot] }
}

func (s scope) set(i ident) func(*activation, Value) {
	hops, slot := s.fn.place(i)
	if hops == 0 {
		return func(a *activation, v Value) { a.slots[slot] = v }
	}
	return func(a *activation, v Value) { a.up(hops).slots[slot] = v }
}

type compiler struct {
	blocks map[string]*block
	names  map[string]bool // that are resolved from the variables
}

func newCompiler() *compiler {
	return &compiler{blocks: map[string]*block{}, names: map[string]bool{}}
}

func (c *compiler) template(t *Template, body []node) {
	var blocks []*blockNode
	for _, n := range body {
		walk(n, func(n node) bool {
			if b, ok := n.(*blockNode); ok {
				if c.blocks[b.name] != nil {
					failSyntax(b.line(), "block '%s' defined twice", b.name)
				}
				c.blocks[b.name] = &block{name: b.name}
				blocks = append(blocks, b)
			}
			return true
		})
	}
	s := scope{symbols: newSymbols(nil), fn: newFn(0, nil), toplevel: true}
	own := c.selfReference(s, body)
	s.symbols.scan(body...)
	enter := c.enter(s)
	run := c.statements(body, s)
	t.function = s.fn
	t.run = func(a *activation) signal {
		own(a)
		enter(a)
		return run(a)
	}
	for _, b := range blocks {
		c.block(b)
	}
	t.blocks = c.blocks
	for n := range globals {
		delete(c.names, n)
	}
	t.names = slices.Sorted(maps.Keys(c.names))
}

// selfReference declares the variable self where the nodes read it.
func (c *compiler) selfReference(s scope, nodes []node) func(*activation) {
	if !undeclared(nodes, "self")["self"] {
		return func(*activation) {}
	}
	set := s.set(s.symbols.parameter("self"))
	return func(a *activation) { set(a, &selfReference{a}) }
}

// enter gives the idents of a scope their first values.
func (c *compiler) enter(s scope) func(*activation) {
	var loads []func(*activation)
	for _, i := range s.symbols.order {
		l := s.symbols.loads[i]
		if l.how == loadParameter {
			continue
		}
		set := s.set(i)
		switch l.how {
		case loadResolve:
			c.names[l.name] = true
			loads = append(loads, func(a *activation) { set(a, a.lookup(l.name)) })
		case loadAlias:
			outer := s.get(l.alias)
			loads = append(loads, func(a *activation) { set(a, outer(a)) })
		default:
			loads = append(loads, func(a *activation) { set(a, nil) })
		}
	}
	return sequence(loads)
}

// leave unsets the idents of a scope.
func (c *compiler) leave(s scope) func(*activation) {
	var unset []func(*activation)
	for _, i := range s.symbols.order {
		set := s.set(i)
		unset = append(unset, func(a *activation) { set(a, nil) })
	}
	return sequence(unset)
}

func sequence(all []func(*activation)) func(*activation) {
	return func(a *activation) {
		for _, f := range all {
			f(a)
		}
	}
}

// statements compiles nodes that follow each other.
func (c *compiler) statements(nodes []node, s scope) executor {
	all := make([]executor, len(nodes))
	for i, n := range nodes {
		all[i] = c.statement(n, s)
	}
	if len(all) == 1 {
		return all[0]
	}
	return func(a *activation) signal {
		for _, run := range all {
			if signal := run(a); signal != signalNone {
				return signal
			}
		}
		return signalNone
	}
}

func (c *compiler) statement(n node, s scope) executor {
	switch n := n.(type) {
	case *outputNode:
		return c.output(n, s)
	case *ifNode:
		return c.ifStatement(n, s)
	case *forNode:
		return c.forStatement(n, s)
	case *assignNode:
		return c.assign(n, s)
	case *assignBlock:
		return c.assignBlock(n, s)
	case *macroNode:
		return c.macroStatement(n, s)
	case *callBlock:
		return c.callBlock(n, s)
	case *filterBlock:
		return c.filterBlock(n, s)
	case *withNode:
		return c.with(n, s)
	case *scopeNode:
		inner := s.inner()
		inner.symbols.scan(n.body...)
		return c.scoped(inner, c.statements(n.body, inner))
	case *blockNode:
		return c.blockStatement(n, s)
	case *templateRef:
		return c.templateRef(n, s)
	case *loopControl:
		if s.loops == 0 {
			failSyntax(n.line(), "'break' or 'continue' outside loop")
		}
		return func(*activation) signal { return n.signal }
	}
	panic("jinja: a statement of an unknown kind")
}

// scoped runs a body within its scope.
func (c *compiler) scoped(s scope, body executor) executor {
	enter, leave := c.enter(s), c.leave(s)
	return func(a *activation) signal {
		enter(a)
		if signal := body(a); signal != signalNone {
			return signal
		}
		leave(a)
		return signalNone
	}
}

func (c *compiler) output(n *outputNode, s scope) executor {
	items := make([]executor, len(n.items))
	for i, item := range n.items {
		line := item.line()
		if data, ok := item.(*constant); ok && data.data {
			text := string(data.value.(str))
			items[i] = func(a *activation) signal {
				a.r.step(1)
				a.write(text)
				return signalNone
			}
			continue
		}
		eval := c.expression(item, s)
		items[i] = func(a *activation) signal {
			a.r.step(1)
			v := eval(a)
			a.r.line = line
			a.write(a.r.str(v))
			return signalNone
		}
	}
	if len(items) == 1 {
		return items[0]
	}
	return func(a *activation) signal {
		for _, item := range items {
			item(a)
		}
		return signalNone
	}
}

func (c *compiler) ifStatement(n *ifNode, s scope) executor {
	type branch struct {
		test evaluator
		body executor
	}
	s = s.softened()
	branches := []branch{{c.expression(n.test, s), c.statements(n.body, s)}}
	for _, e := range n.elifs {
		branches = append(branches, branch{c.expression(e.test, s), c.statements(e.body, s)})
	}
	orElse := c.statements(n.orElse, s)
	return func(a *activation) signal {
		for _, b := range branches {
			a.r.step(1)
			if a.r.truth(b.test(a)) {
				return b.body(a)
			}
		}
		return orElse(a)
	}
}

func (c *compiler) filterBlock(n *filterBlock, s scope) executor {
	inner := s.inner()
	inner.symbols.scan(n.body...)
	inner.symbols.scan(n.filter)
	body := c.statements(n.body, inner)
	filter := c.filterChain(n.filter, inner)
	return c.scoped(inner, func(a *activation) signal {
		a.r.step(1)
		text, signal := a.capture(body)
		if signal == signalNone {
			a.writeText(filter(a, str(text)))
		}
		return signal
	})
}

func (c *compiler) with(n *withNode, s scope) executor {
	inner := s.inner()
	inner.symbols.scan(n.targets...)
	inner.symbols.scan(n.body...)
	type assignment struct {
		set   func(*activation, Value)
		value evaluator
	}
	var all []assignment
	for i, t := range n.targets {
		set, _ := c.target(t, inner)
		all = append(all, assignment{set, c.expression(n.values[i], s)})
	}
	body := c.statements(n.body, inner)
	return c.scoped(inner, func(a *activation) signal {
		for _, as := range all {
			as.set(a, as.value(a))
		}
		return body(a)
	})
}

// templateRef fails as Jinja does where there are no other templates.
func (c *compiler) templateRef(n *templateRef, s scope) executor {
	if n.extends && !s.toplevel {
		failSyntax(n.line(), "cannot use extend from a non top-level scope")
	}
	eval := c.expression(n.template, s)
	return func(a *activation) signal {
		v := eval(a)
		a.r.line = n.line()
		if l, ok := v.(*list); ok && len(l.items) == 0 {
			if n.ignoreMissing {
				return signalNone
			}
			raise("TemplatesNotFound", "Tried to select from an empty list of templates.")
		}
		failIfUndefined(v)
		raise("TypeError", "no loader for this environment specified")
		return signalNone
	}
}

// isPrivate says whether a name begins with an underscore.
func isPrivate(name string) bool { return strings.HasPrefix(name, "_") }
