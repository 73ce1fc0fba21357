package jinja

// An ident is a variable of the generated program: a name of the template at a
// level of scopes. Jinja calls it l_<level>_<name>.
type ident struct {
	level int
	name  string
}

// loading is how an ident gets its value where its scope is entered.
type loading int

const (
	loadParameter loading = iota // whoever enters sets it
	loadResolve                  // from the variables of the rendering
	loadAlias                    // from an ident of an outer scope
	loadUndefined                // it has none yet
)

type loadRule struct {
	how   loading
	name  string // to resolve
	alias ident
}

// symbols are the names of a scope, found before it is compiled, as
// jinja2.idtracking finds them. So a name that a scope assigns anywhere is its
// own in all of it.
type symbols struct {
	level  int
	parent *symbols
	refs   map[string]ident
	loads  map[ident]loadRule
	order  []ident // of loads
	stores map[string]bool
}

func newSymbols(parent *symbols) *symbols {
	s := &symbols{parent: parent, refs: map[string]ident{}, loads: map[ident]loadRule{}, stores: map[string]bool{}}
	if parent != nil {
		s.level = parent.level + 1
	}
	return s
}

func (s *symbols) copy() *symbols {
	c := *s
	c.refs, c.loads, c.stores, c.order = map[string]ident{}, map[ident]loadRule{}, map[string]bool{}, nil
	c.merge(s)
	return &c
}

// merge takes over what is known in another copy.
func (s *symbols) merge(other *symbols) {
	for n, r := range other.refs {
		s.refs[n] = r
	}
	for _, i := range other.order {
		s.setLoad(i, other.loads[i])
	}
	for n := range other.stores {
		s.stores[n] = true
	}
}

func (s *symbols) setLoad(i ident, l loadRule) {
	if _, ok := s.loads[i]; !ok {
		s.order = append(s.order, i)
	}
	s.loads[i] = l
}

func (s *symbols) define(n string, l loadRule) ident {
	i := ident{s.level, n}
	s.refs[n] = i
	s.setLoad(i, l)
	return i
}

func (s *symbols) findRef(n string) (ident, bool) {
	for ; s != nil; s = s.parent {
		if r, ok := s.refs[n]; ok {
			return r, true
		}
	}
	return ident{}, false
}

func (s *symbols) store(n string) {
	s.stores[n] = true
	if _, ok := s.refs[n]; ok {
		return
	}
	if s.parent != nil {
		if outer, ok := s.parent.findRef(n); ok {
			s.define(n, loadRule{how: loadAlias, alias: outer})
			return
		}
	}
	s.define(n, loadRule{how: loadUndefined})
}

func (s *symbols) parameter(n string) ident {
	s.stores[n] = true
	return s.define(n, loadRule{how: loadParameter})
}

func (s *symbols) load(n string) {
	if _, ok := s.findRef(n); !ok {
		s.define(n, loadRule{how: loadResolve, name: n})
	}
}

// branches takes over what the branches of an if define. What only some of them
// set has its outer value in the others.
func (s *symbols) branches(all ...*symbols) {
	stores := map[string]bool{}
	for _, b := range all {
		for n := range b.stores {
			stores[n] = !s.stores[n]
		}
	}
	for _, b := range all {
		s.merge(b)
	}
	for n, fresh := range stores {
		if !fresh {
			continue
		}
		target, _ := s.findRef(n)
		l := loadRule{how: loadResolve, name: n}
		if s.parent != nil {
			if outer, ok := s.parent.findRef(n); ok {
				l = loadRule{how: loadAlias, alias: outer}
			}
		}
		s.setLoad(target, l)
	}
}

// allStores maps every name that this scope or an outer one assigns.
func (s *symbols) allStores() map[string]ident {
	all := map[string]ident{}
	for n := s; n != nil; n = n.parent {
		for name := range n.stores {
			if _, ok := all[name]; !ok {
				all[name], _ = s.findRef(name)
			}
		}
	}
	return all
}

// scan finds the symbols of nodes that belong to the scope itself. It stops at
// what has a scope of its own.
func (s *symbols) scan(nodes ...node) {
	for _, n := range nodes {
		s.scanOne(n)
	}
}

func (s *symbols) scanOne(n node) {
	switch n := n.(type) {
	case nil:
	case *name:
		switch n.use {
		case param:
			s.parameter(n.name)
		case store:
			s.store(n.name)
		default:
			s.load(n.name)
		}
	case *nsRef:
		s.load(n.name)
	case *ifNode:
		s.scanOne(n.test)
		body, elifs, orElse := s.copy(), s.copy(), s.copy()
		body.scan(n.body...)
		for _, e := range n.elifs {
			elifs.scanOne(e)
		}
		orElse.scan(n.orElse...)
		s.branches(body, elifs, orElse)
	case *macroNode:
		s.store(n.name)
	case *templateRef:
		s.scanOne(n.template)
		for _, name := range n.names {
			s.store(name)
		}
	case *assignNode:
		s.scan(n.value, n.target)
	case *assignBlock:
		s.scanOne(n.target)
	case *forNode:
		s.scanOne(n.iter)
	case *callBlock:
		if n.call != nil {
			s.scanOne(n.call)
		}
	case *filterBlock:
		s.scanOne(n.filter)
	case *withNode:
		s.scan(n.values...)
	case *scopeNode, *blockNode:
	default:
		s.scan(children(n)...)
	}
}

// scanTarget finds the symbols of a loop's target.
func (s *symbols) scanTarget(target node) {
	walk(target, func(n node) bool {
		if n, ok := n.(*name); ok {
			s.parameter(n.name)
		}
		return true
	})
}

// undeclared returns which of the names are read in the nodes before anything
// else is done with them (jinja2.compiler.find_undeclared).
func undeclared(nodes []node, names ...string) map[string]bool {
	wanted, found := map[string]bool{}, map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	for _, n := range nodes {
		walk(n, func(n node) bool {
			if n, ok := n.(*name); ok {
				if n.use == load && wanted[n.name] {
					found[n.name] = true
				} else {
					delete(wanted, n.name)
				}
			}
			_, isBlock := n.(*blockNode)
			return !isBlock
		})
	}
	return found
}
