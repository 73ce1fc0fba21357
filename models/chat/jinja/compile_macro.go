package jinja

import "slices"

// A macro is a callable that the template defined, or the caller of a call
// block.
type macro struct {
	name                                string // "" of a caller
	params                              []string
	readsCaller, readsKwargs, readsArgs bool
	invoke                              func(arguments []Value) Value
}

func (*macro) typeName() string { return "Macro" }

// macroCode is a compiled macro.
type macroCode struct {
	macro
	fn       *fn
	sets     []func(*activation, Value)
	enter    func(*activation)
	defaults []func(*activation) Value // one for each parameter
	gets     []evaluator
	body     executor
}

func (c *compiler) macroCode(line at, name string, sig signature, body []node, s scope) *macroCode {
	inner := s.innerFunction()
	analyse := func() {
		for _, p := range sig.params {
			inner.symbols.scan(p)
		}
		inner.symbols.scan(sig.defaults...)
		inner.symbols.scan(body...)
	}
	analyse()
	m := &macroCode{fn: inner.fn}
	m.name = name
	explicitCaller, explicitKwargs, explicitArgs := -1, false, false
	for i, p := range sig.params {
		switch p.name {
		case "caller":
			explicitCaller = i
		case "kwargs":
			explicitKwargs = true
		case "varargs":
			explicitArgs = true
		}
		m.params = append(m.params, p.name)
		m.sets = append(m.sets, inner.set(inner.ref(p, p.name)))
	}
	special := func(name string) {
		m.sets = append(m.sets, inner.set(inner.symbols.parameter(name)))
	}
	reads := undeclared(body, "caller", "kwargs", "varargs")
	if reads["caller"] {
		m.readsCaller = true
		if explicitCaller < 0 {
			special("caller")
		} else if explicitCaller < len(sig.params)-len(sig.defaults) {
			failSyntax(line.line(), `When defining macros or call blocks the special "caller" argument must be omitted or be given a default.`)
		}
	}
	if reads["kwargs"] && !explicitKwargs {
		m.readsKwargs = true
		special("kwargs")
	}
	if reads["varargs"] && !explicitArgs {
		m.readsArgs = true
		special("varargs")
	}
	analyse()
	m.enter = c.enter(inner)
	for i, p := range sig.params {
		m.gets = append(m.gets, inner.get(inner.ref(p, p.name)))
		def := func(*activation) Value {
			return undefinedBecause("parameter " + reprString(p.name) + " was not provided")
		}
		if d := i - (len(sig.params) - len(sig.defaults)); d >= 0 {
			def = c.expression(sig.defaults[d], inner)
		}
		m.defaults = append(m.defaults, def)
	}
	m.body = c.statements(body, inner)
	return m
}

// define makes the macro where its definition is run.
func (m *macroCode) define(outer *activation) *macro {
	made := m.macro
	made.invoke = func(arguments []Value) Value {
		r := outer.r
		r.enter()
		defer r.leave()
		a := m.fn.activate(r, outer, outer.env, &buffer{})
		for i, v := range arguments {
			m.sets[i](a, v)
		}
		m.enter(a)
		for i, get := range m.gets {
			if get(a) == nil {
				m.sets[i](a, m.defaults[i](a))
			}
		}
		m.body(a)
		return str(a.out.text())
	}
	return &made
}

// call gives the macro its arguments, in the order parameters, caller, kwargs,
// varargs.
func (m *macro) call(r *rendering, args []Value, kwargs []named) Value {
	n := len(m.params)
	arguments := make([]Value, min(n, len(args)), n+3)
	copy(arguments, args)
	take := func(name string) Value {
		for i, k := range kwargs {
			if k.name == name {
				kwargs = append(append([]named(nil), kwargs[:i]...), kwargs[i+1:]...)
				return k.value
			}
		}
		return nil
	}
	foundCaller := false
	for i, name := range m.params {
		if name == "caller" && (i >= len(arguments) || len(args) >= n) {
			foundCaller = true
		}
		if i >= len(args) {
			arguments = append(arguments, take(name))
		}
	}
	if m.readsCaller && !foundCaller {
		caller := take("caller")
		if caller == nil || caller == None {
			caller = undefinedBecause("No caller defined")
		}
		arguments = append(arguments, caller)
	}
	if m.readsKwargs {
		rest := &dict{}
		for _, k := range kwargs {
			rest.set(k.name, k.value)
		}
		arguments = append(arguments, rest)
	} else if len(kwargs) > 0 {
		for _, k := range kwargs {
			if k.name == "caller" {
				raise("TypeError", "macro %s was invoked with two values for the special caller argument. This is most likely a bug.", reprString(m.name))
			}
		}
		raise("TypeError", "macro %s takes no keyword argument %s", reprString(m.name), reprString(kwargs[0].name))
	}
	if m.readsArgs {
		r.holdItems(max(0, len(args)-n))
		arguments = append(arguments, &tuple{items: args[min(n, len(args)):]})
	} else if len(args) > n {
		raise("TypeError", "macro %s takes not more than %d argument(s)", reprString(m.name), n)
	}
	return m.invoke(arguments)
}

func (c *compiler) macroStatement(n *macroNode, s scope) executor {
	code := c.macroCode(n.at, n.name, n.signature, n.body, s)
	set := c.exported(&name{n.at, n.name, store}, s)
	return func(a *activation) signal {
		a.r.hold(entrySize)
		set(a, code.define(a))
		return signalNone
	}
}

// callBlock compiles {% call %} and {% generation %}.
func (c *compiler) callBlock(n *callBlock, s scope) executor {
	code := c.macroCode(n.at, "", n.signature, n.body, s)
	if n.call == nil {
		return func(a *activation) signal {
			a.r.line = n.line()
			text := textOf(a.r.call(code.define(a), nil, nil))
			a.r.generated(text)
			a.write(text)
			return signalNone
		}
	}
	for _, k := range n.call.args.keywords {
		if k.name == "caller" {
			failSyntax(n.line(), "keyword argument repeated: caller")
		}
	}
	callee := c.expression(n.call.callee, s)
	args := c.arguments(n.call.args, s)
	return func(a *activation) signal {
		caller := code.define(a)
		f := callee(a)
		positional, keywords := args(a)
		a.r.line = n.line()
		for _, k := range keywords {
			if k.name == "caller" {
				raise("TypeError", "got multiple values for keyword argument 'caller'")
			}
		}
		keywords = slices.Insert(keywords, len(n.call.args.keywords), named{"caller", caller})
		a.writeText(a.r.call(f, positional, keywords))
		return signalNone
	}
}

// A block is a compiled {% block %}.
type block struct {
	name string
	fn   *fn
	run  executor
}

func (c *compiler) block(n *blockNode) {
	s := scope{symbols: newSymbols(nil), fn: newFn(0, nil)}
	own := c.selfReference(s, n.body)
	setSuper := func(*activation, Value) {}
	if undeclared(n.body, "super")["super"] {
		setSuper = s.set(s.symbols.parameter("super"))
	}
	s.symbols.scan(n.body...)
	enter := c.enter(s)
	body := c.statements(n.body, s)
	b := c.blocks[n.name]
	b.fn = s.fn
	b.run = func(a *activation) signal {
		own(a)
		setSuper(a, undefinedBecause("there is no parent block called "+reprString(n.name)+"."))
		enter(a)
		return body(a)
	}
}

// render runs the block with an output.
func (b *block) render(r *rendering, env *environment, out *buffer) {
	r.enter()
	defer r.leave()
	b.run(b.fn.activate(r, nil, env, out))
}

func (c *compiler) blockStatement(n *blockNode, s scope) executor {
	gets := map[string]evaluator{}
	if n.scoped {
		for name, i := range s.symbols.allStores() {
			gets[name] = s.get(i)
		}
	}
	return func(a *activation) signal {
		a.r.line = n.line()
		if n.required {
			raise("TemplateRuntimeError", "Required block '%s' not found", n.name)
		}
		env := a.env
		if n.scoped {
			env = &environment{map[string]Value{}, env}
			for name, get := range gets {
				if v := get(a); v != nil {
					env.vars[name] = v
				}
			}
		}
		a.r.blocks[n.name].render(a.r, env, a.out)
		return signalNone
	}
}

// A selfReference is the variable self, whose items are the blocks.
type selfReference struct{ *activation }

func (*selfReference) typeName() string { return "TemplateReference" }

// A blockReference is self.name, which renders the block as it is called.
type blockReference struct {
	*activation
	block *block
}

func (*blockReference) typeName() string { return "BlockReference" }

func (b *blockReference) call(r *rendering, args []Value, kwargs []named) Value {
	noArguments.bind(r, b.block.name, args, kwargs)
	out := &buffer{}
	b.block.render(r, b.env, out)
	return str(out.text())
}

var noArguments = params("")
