package jinja

import (
	"fmt"
	"strings"
)

// A named is a keyword argument.
type named struct {
	name  string
	value Value
}

// callable are values that can be called.
type callable interface {
	Value
	call(r *rendering, args []Value, kwargs []named) Value
}

// A routine is a built-in function, method, filter or test.
type routine struct {
	name   string
	params parameters
	// run has an argument for each parameter, nil where it was not given. The
	// rest of the positional arguments is a tuple, of the keywords a dict.
	run func(r *rendering, a []Value) Value
	// isClass is set for what is a class in Python.
	isClass bool
}

func (f *routine) typeName() string {
	if f.isClass {
		return "type"
	}
	return "function"
}

func (f *routine) call(r *rendering, args []Value, kwargs []named) Value {
	return f.run(r, f.params.bind(r, f.name, args, kwargs))
}

// A method is a routine with its first argument.
type method struct {
	self Value
	*routine
}

func (*method) typeName() string { return "builtin_function_or_method" }

func (f *method) call(r *rendering, args []Value, kwargs []named) Value {
	all := make([]Value, 0, len(args)+1)
	return f.routine.call(r, append(append(all, f.self), args...), kwargs)
}

// A function is a callable of the caller's.
type function struct {
	name string
	f    func(args []Value, kwargs map[string]Value) (Value, error)
}

func (*function) typeName() string { return "function" }

// NewFunction is a callable. An error that f returns ends the rendering, and is
// the error that Render returns; no value is None.
func NewFunction(name string, f func(args []Value, kwargs map[string]Value) (Value, error)) Value {
	return &function{name, f}
}

func (f *function) call(r *rendering, args []Value, kwargs []named) Value {
	m := make(map[string]Value, len(kwargs))
	for _, k := range kwargs {
		m[k.name] = k.value
		r.step(len(textOf(k.value))) // it may do something for each character
	}
	for _, a := range args {
		r.step(len(textOf(a)))
	}
	v, err := f.f(args, m)
	if err != nil {
		panic(thrown{err})
	}
	r.hold(len(textOf(v)))
	return orNone(v)
}

func textOf(v Value) string {
	s, _ := Text(v)
	return s
}

// call calls a value as the sandbox does.
func (r *rendering) call(callee Value, args []Value, kwargs []named) Value {
	r.step(3 + len(args) + len(kwargs))
	failIfUndefined(callee)
	f, ok := callee.(callable)
	if !ok {
		raise("TypeError", "'%s' object is not callable", callee.typeName())
	}
	return f.call(r, args, kwargs)
}

// parameters are the parameters of a routine.
type parameters struct {
	names          []string
	required       int
	positionalOnly bool
	rest           bool // *args
	keywords       bool // **kwargs
}

// params reads parameters as Python writes them: "a, b=, *args, **kwargs". A
// last "/" says that none is given by name.
func params(spec string) parameters {
	var p parameters
	for part := range strings.SplitSeq(spec, ", ") {
		switch {
		case part == "":
		case part == "/":
			p.positionalOnly = true
		case strings.HasPrefix(part, "**"):
			p.keywords = true
		case strings.HasPrefix(part, "*"):
			p.rest = true
		default:
			name, optional := strings.CutSuffix(part, "=")
			if !optional {
				p.required++
			}
			p.names = append(p.names, name)
		}
	}
	return p
}

// bind gives each parameter its argument, nil where there is none.
func (p *parameters) bind(r *rendering, function string, args []Value, kwargs []named) []Value {
	n := len(p.names)
	bound := make([]Value, n, n+2)
	given := copy(bound, args)
	if len(args) > n && !p.rest {
		raise("TypeError", "%s() takes %s but %d were given", function, plural(n, "argument"), len(args))
	}
	others := &dict{}
	for _, k := range kwargs {
		i := p.index(k.name)
		switch {
		case i >= 0 && i < given:
			raise("TypeError", "%s() got multiple values for argument '%s'", function, k.name)
		case i >= 0:
			bound[i] = k.value
		case p.keywords:
			others.set(k.name, k.value)
		default:
			raise("TypeError", "%s() got an unexpected keyword argument '%s'", function, k.name)
		}
	}
	for i := given; i < p.required; i++ {
		if bound[i] == nil {
			raise("TypeError", "%s() missing required argument: '%s'", function, p.names[i])
		}
	}
	if p.rest {
		r.holdItems(len(args) - given)
		bound = append(bound, &tuple{items: args[given:]})
	}
	if p.keywords {
		bound = append(bound, others)
	}
	return bound
}

func (p *parameters) index(name string) int {
	if !p.positionalOnly {
		for i, n := range p.names {
			if n == name {
				return i
			}
		}
	}
	return -1
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// routines makes a table of routines by name. A key is a name with its
// parameters: "replace(s, old, new, count=)".
func routines(table map[string]func(r *rendering, a []Value) Value) map[string]*routine {
	made := make(map[string]*routine, len(table))
	for head, run := range table {
		name, spec, _ := strings.Cut(strings.TrimSuffix(head, ")"), "(")
		made[name] = &routine{name: name, params: params(spec), run: run}
	}
	return made
}
