package jinja

// target compiles an assignment to a target. It returns the names it sets.
func (c *compiler) target(n node, s scope) (set func(*activation, Value), names []string) {
	switch n := n.(type) {
	case *name:
		return s.set(s.ref(n, n.name)), []string{n.name}
	case *nsRef:
		get := s.get(s.ref(n, n.name))
		return func(a *activation, v Value) { get(a).(*namespace).set(a.r, n.attr, v) }, nil
	case *tupleNode:
		sets := make([]func(*activation, Value), len(n.items))
		for i, item := range n.items {
			var more []string
			sets[i], more = c.target(item, s)
			names = append(names, more...)
		}
		return func(a *activation, v Value) {
			for i, item := range a.r.unpack(v, len(sets)) {
				sets[i](a, item)
			}
		}, names
	}
	panic("jinja: a target of an unknown kind")
}

// unpack returns the n items of a value that is assigned to n targets.
func (r *rendering) unpack(v Value, n int) []Value {
	if t, ok := v.(*tuple); ok && len(t.items) == n {
		return t.items
	}
	next := r.items(v)
	if next == nil {
		raise("TypeError", "cannot unpack non-iterable %s object", v.typeName())
	}
	items := make([]Value, 0, n)
	for {
		r.step(1)
		item, ok := next()
		switch {
		case !ok && len(items) < n:
			raise("ValueError", "not enough values to unpack (expected %d, got %d)", n, len(items))
		case !ok:
			return items
		case len(items) == n:
			raise("ValueError", "too many values to unpack (expected %d)", n)
		}
		items = append(items, item)
	}
}

// namespacesIn compiles the check that each ns of a target ns.attr is a
// namespace.
func (c *compiler) namespacesIn(target node, s scope) func(*activation) {
	var checks []func(*activation)
	walk(target, func(n node) bool {
		if n, ok := n.(*nsRef); ok {
			get := s.get(s.ref(n, n.name))
			checks = append(checks, func(a *activation) {
				if _, ok := get(a).(*namespace); !ok {
					raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object")
				}
			})
		}
		return true
	})
	return sequence(checks)
}

func (c *compiler) assign(n *assignNode, s scope) executor {
	check := c.namespacesIn(n.target, s)
	value := c.expression(n.value, s)
	set := c.exported(n.target, s)
	return func(a *activation) signal {
		a.r.step(1)
		a.r.line = n.line()
		check(a)
		v := value(a)
		a.r.line = n.line()
		set(a, v)
		return signalNone
	}
}

// exported compiles an assignment whose names, at the top level, blocks see.
func (c *compiler) exported(target node, s scope) func(*activation, Value) {
	set, names := c.target(target, s)
	if !s.toplevel || len(c.blocks) == 0 {
		return set
	}
	gets := make([]evaluator, len(names))
	for i, n := range names {
		gets[i] = s.get(s.ref(target, n))
	}
	return func(a *activation, v Value) {
		set(a, v)
		for i, n := range names {
			a.env.vars[n] = gets[i](a)
		}
	}
}

func (c *compiler) assignBlock(n *assignBlock, s scope) executor {
	inner := s.inner()
	inner.symbols.scan(n.body...)
	enter, leave := c.enter(inner), c.leave(inner)
	body := c.statements(n.body, inner)
	set := c.exported(n.target, s)
	check := c.namespacesIn(n.target, s)
	filter := func(_ *activation, v Value) Value { return v }
	if n.filter != nil {
		filter = c.filterChain(n.filter, inner)
	}
	return func(a *activation) signal {
		a.r.step(1)
		enter(a)
		text, signal := a.capture(body)
		if signal != signalNone {
			return signal
		}
		a.r.line = n.line()
		v := filter(a, str(text))
		check(a)
		set(a, v)
		leave(a)
		return signalNone
	}
}
