package jinja

import "strings"

func (c *compiler) expression(n node, s scope) evaluator {
	switch n := n.(type) {
	case *constant:
		return func(*activation) Value { return n.value }
	case *name:
		get := s.get(s.ref(n, n.name))
		return func(a *activation) Value {
			if v := get(a); v != nil {
				return v
			}
			a.r.step(2)
			return Undefined(n.name)
		}
	case *tupleNode:
		items := c.expressions(n.items, s)
		return func(a *activation) Value { return &tuple{items: items(a)} }
	case *listNode:
		items := c.expressions(n.items, s)
		return func(a *activation) Value { return &list{items(a)} }
	case *dictNode:
		return c.dict(n, s)
	case *condNode:
		return c.conditional(n, s)
	case *binaryNode:
		return c.binary(n, s)
	case *unaryNode:
		return c.unary(n, s)
	case *compareNode:
		return c.comparison(n, s)
	case *concatNode:
		return c.concat(n, s)
	case *filterNode:
		operand := c.expression(n.operand, s)
		apply := c.apply(n, s)
		return func(a *activation) Value { return apply(a, operand(a)) }
	case *callNode:
		return c.call(n, s)
	case *attrNode:
		object := c.expression(n.object, s)
		h := any(n.attr)
		return func(a *activation) Value {
			v := object(a)
			a.r.line = n.line()
			return a.r.attribute(v, n.attr, h)
		}
	case *itemNode:
		return c.item(n, s)
	}
	panic("jinja: an expression of an unknown kind")
}

// expressions compiles the items of a container.
func (c *compiler) expressions(nodes []node, s scope) func(*activation) []Value {
	evals := make([]evaluator, len(nodes))
	for i, n := range nodes {
		evals[i] = c.expression(n, s)
	}
	return func(a *activation) []Value {
		a.r.holdItems(len(evals))
		items := make([]Value, len(evals))
		for i, eval := range evals {
			items[i] = eval(a)
		}
		return items
	}
}

func (c *compiler) dict(n *dictNode, s scope) evaluator {
	keys, values := c.expressions(n.keys, s), c.expressions(n.values, s)
	return func(a *activation) Value {
		d := &dict{}
		a.r.hold(times(len(n.keys), entrySize))
		k, v := keys(a), values(a)
		a.r.line = n.line()
		for i := range k {
			d.put(a.r.mustHash(k[i]), k[i], v[i])
		}
		return d
	}
}

func (c *compiler) conditional(n *condNode, s scope) evaluator {
	s = s.softened()
	test, then := c.expression(n.test, s), c.expression(n.then, s)
	otherwise := func(*activation) Value {
		return undefinedBecause("the inline if-expression evaluated to false and no else section was defined.")
	}
	if n.otherwise != nil {
		otherwise = c.expression(n.otherwise, s)
	}
	return func(a *activation) Value {
		if a.r.truth(test(a)) {
			return then(a)
		}
		return otherwise(a)
	}
}

func (c *compiler) binary(n *binaryNode, s scope) evaluator {
	left, right := c.expression(n.left, s), c.expression(n.right, s)
	switch n.op {
	case "and", "or":
		stopsAt := n.op == "or"
		return func(a *activation) Value {
			if v := left(a); a.r.truth(v) == stopsAt {
				return v
			}
			return right(a)
		}
	}
	return func(a *activation) Value {
		x, y := left(a), right(a)
		a.r.line = n.line()
		return a.r.binary(n.op, x, y)
	}
}

func (c *compiler) unary(n *unaryNode, s scope) evaluator {
	operand := c.expression(n.operand, s)
	return func(a *activation) Value {
		v := operand(a)
		a.r.line = n.line()
		switch n.op {
		case "not":
			return boolean(!a.r.truth(v))
		case "sub":
			return a.r.negate(v)
		}
		return plus(v)
	}
}

func (c *compiler) comparison(n *compareNode, s scope) evaluator {
	first := c.expression(n.first, s)
	rest := make([]evaluator, len(n.rest))
	for i, o := range n.rest {
		rest[i] = c.expression(o.expr, s)
	}
	return func(a *activation) Value {
		left := first(a)
		for i, eval := range rest {
			right := eval(a)
			a.r.line = n.line()
			if !a.r.compare(n.rest[i].op, left, right) {
				return Bool(false)
			}
			left = right
		}
		return Bool(true)
	}
}

// compare applies an operator of a comparison.
func (r *rendering) compare(op string, a, b Value) bool {
	switch op {
	case "eq":
		return r.equal(a, b)
	case "ne":
		return !r.equal(a, b)
	case "in":
		return r.contains(b, a)
	case "notin":
		return !r.contains(b, a)
	}
	return r.order(op, a, b)
}

func (c *compiler) concat(n *concatNode, s scope) evaluator {
	items := c.expressions(n.items, s)
	return func(a *activation) Value {
		var b strings.Builder
		for _, v := range items(a) {
			a.r.line = n.line()
			text := a.r.str(v)
			a.r.hold(len(text))
			b.WriteString(text)
		}
		return str(b.String())
	}
}

func (c *compiler) item(n *itemNode, s scope) evaluator {
	object := c.expression(n.object, s)
	if sl, ok := n.index.(*sliceNode); ok {
		part := func(n node) evaluator {
			if n == nil {
				return func(*activation) Value { return None }
			}
			return c.expression(n, s)
		}
		start, stop, step := part(sl.start), part(sl.stop), part(sl.step)
		return func(a *activation) Value {
			v, x, y, z := object(a), start(a), stop(a), step(a)
			a.r.line = n.line()
			return a.r.slice(v, x, y, z)
		}
	}
	index := c.expression(n.index, s)
	return func(a *activation) Value {
		v, i := object(a), index(a)
		a.r.line = n.line()
		return a.r.item(v, i)
	}
}

// arguments compiles the arguments of a call.
func (c *compiler) arguments(n arguments, s scope) func(*activation) ([]Value, []named) {
	positional := c.expressions(n.positional, s)
	keywords := make([]evaluator, len(n.keywords))
	for i, k := range n.keywords {
		keywords[i] = c.expression(k.value, s)
	}
	var star, doubleStar evaluator
	if n.star != nil {
		star = c.expression(n.star, s)
	}
	if n.doubleStar != nil {
		doubleStar = c.expression(n.doubleStar, s)
	}
	return func(a *activation) ([]Value, []named) {
		args := positional(a)
		if star != nil {
			args = append(args, a.r.collect(star(a))...)
		}
		var kwargs []named
		for i, k := range n.keywords {
			kwargs = append(kwargs, named{k.name, keywords[i](a)})
		}
		if doubleStar != nil {
			kwargs = a.r.addKeywords(kwargs, doubleStar(a))
		}
		return args, kwargs
	}
}

// addKeywords adds the entries of **v.
func (r *rendering) addKeywords(kwargs []named, v Value) []named {
	failIfUndefined(v)
	d, ok := v.(*dict)
	if !ok {
		raise("TypeError", "argument after ** must be a mapping, not %s", v.typeName())
	}
	r.hold(times(len(d.keys), entrySize))
	given := map[string]bool{}
	for _, k := range kwargs {
		given[k.name] = true
	}
	for i, key := range d.keys {
		name, ok := Text(key)
		if !ok {
			raise("TypeError", "keywords must be strings")
		}
		if given[name] {
			raise("TypeError", "got multiple values for keyword argument '%s'", name)
		}
		kwargs = append(kwargs, named{name, d.values[i]})
	}
	return kwargs
}

func (c *compiler) call(n *callNode, s scope) evaluator {
	callee := c.expression(n.callee, s)
	args := c.arguments(n.args, s)
	return func(a *activation) Value {
		f := callee(a)
		positional, keywords := args(a)
		a.r.line = n.line()
		return a.r.call(f, positional, keywords)
	}
}

// apply compiles a filter or a test without its operand.
func (c *compiler) apply(n *filterNode, s scope) func(*activation, Value) Value {
	table, what := filters, "filter"
	if n.isTest {
		table, what = tests, "test"
	}
	f := table[n.name]
	if f == nil && !s.soft {
		failSyntax(n.line(), "No %s named '%s'.", what, n.name)
	}
	args := c.arguments(n.args, s)
	return func(a *activation, v Value) Value {
		positional, keywords := args(a)
		a.r.line = n.line()
		if f == nil {
			raise("TemplateRuntimeError", "No %s named '%s' found.", what, n.name)
		}
		a.r.step(3)
		all := make([]Value, 0, len(positional)+1)
		return f.call(a.r, append(append(all, v), positional...), keywords)
	}
}

// filterChain compiles the filters of a block, which apply to what it wrote.
func (c *compiler) filterChain(n *filterNode, s scope) func(*activation, Value) Value {
	apply := c.apply(n, s)
	if n.operand == nil {
		return apply
	}
	before := c.filterChain(n.operand.(*filterNode), s)
	return func(a *activation, v Value) Value { return apply(a, before(a, v)) }
}
