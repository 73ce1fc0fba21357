package jinja

// A node is a part of a parsed template: an expression or a statement. The
// shapes are those of jinja2.nodes, since scopes follow from them.
type node interface{ line() int }

type at int

func (a at) line() int { return int(a) }

// How a name is used.
type use int

const (
	load use = iota
	store
	param
)

// Expressions.
type (
	constant struct {
		at
		value Value
		data  bool // text of the template outside of tags
	}
	name struct {
		at
		name string
		use  use
	}
	// nsRef is the target ns.attr of an assignment.
	nsRef struct {
		at
		name, attr string
	}
	tupleNode struct {
		at
		items []node
	}
	listNode struct {
		at
		items []node
	}
	dictNode struct {
		at
		keys, values []node
	}
	condNode struct {
		at
		test, then, otherwise node // otherwise may be nil
	}
	binaryNode struct {
		at
		op          string
		left, right node
	}
	unaryNode struct {
		at
		op      string
		operand node
	}
	operand struct {
		op   string
		expr node
	}
	compareNode struct {
		at
		first node
		rest  []operand
	}
	concatNode struct {
		at
		items []node
	}
	keyword struct {
		name  string
		value node
	}
	arguments struct {
		positional []node
		keywords   []keyword
		star       node // *args or nil
		doubleStar node // **kwargs or nil
	}
	// filterNode is a filter or, where isTest, a test. The operand is nil where
	// it is what a block wrote.
	filterNode struct {
		at
		isTest  bool
		operand node
		name    string
		args    arguments
	}
	callNode struct {
		at
		callee node
		args   arguments
	}
	attrNode struct {
		at
		object node
		attr   string
	}
	itemNode struct {
		at
		object, index node
	}
	sliceNode struct {
		at
		start, stop, step node // each may be nil
	}
)

// Statements.
type (
	outputNode struct {
		at
		items []node
	}
	forNode struct {
		at
		target, iter node
		body, orElse []node
		test         node // may be nil
		recursive    bool
	}
	ifNode struct {
		at
		test   node
		body   []node
		elifs  []*ifNode
		orElse []node
	}
	// signature is the parameters of a macro or of a call block.
	signature struct {
		params   []*name
		defaults []node // of the last parameters
	}
	macroNode struct {
		at
		name string
		signature
		body []node
	}
	// callBlock is {% call %}, or {% generation %} where call is nil.
	callBlock struct {
		at
		call *callNode
		signature
		body []node
	}
	filterBlock struct {
		at
		body   []node
		filter *filterNode
	}
	withNode struct {
		at
		targets, values []node
		body            []node
	}
	scopeNode struct {
		at
		body []node
	}
	blockNode struct {
		at
		name             string
		body             []node
		scoped, required bool
	}
	assignNode struct {
		at
		target, value node
	}
	assignBlock struct {
		at
		target node
		filter *filterNode // may be nil
		body   []node
	}
	// templateRef is include, import, from or extends.
	templateRef struct {
		at
		template      node
		names         []string // that it would define
		extends       bool
		ignoreMissing bool
	}
	// loopControl is break or continue.
	loopControl struct {
		at
		signal signal
	}
)

// children lists the nodes right below n in the order of Jinja's fields.
func children(n node) []node {
	var c []node
	add := func(nodes ...node) {
		for _, n := range nodes {
			if n != nil {
				c = append(c, n)
			}
		}
	}
	args := func(a arguments) {
		add(a.positional...)
		for _, k := range a.keywords {
			add(k.value)
		}
		add(a.star, a.doubleStar)
	}
	sign := func(s signature) {
		for _, p := range s.params {
			add(p)
		}
		add(s.defaults...)
	}
	switch n := n.(type) {
	case *tupleNode:
		add(n.items...)
	case *listNode:
		add(n.items...)
	case *dictNode:
		for i, k := range n.keys {
			add(k, n.values[i])
		}
	case *condNode:
		add(n.test, n.then, n.otherwise)
	case *binaryNode:
		add(n.left, n.right)
	case *unaryNode:
		add(n.operand)
	case *compareNode:
		add(n.first)
		for _, o := range n.rest {
			add(o.expr)
		}
	case *concatNode:
		add(n.items...)
	case *filterNode:
		add(n.operand)
		args(n.args)
	case *callNode:
		add(n.callee)
		args(n.args)
	case *attrNode:
		add(n.object)
	case *itemNode:
		add(n.object, n.index)
	case *sliceNode:
		add(n.start, n.stop, n.step)
	case *outputNode:
		add(n.items...)
	case *forNode:
		add(n.target, n.iter)
		add(n.body...)
		add(n.orElse...)
		add(n.test)
	case *ifNode:
		add(n.test)
		add(n.body...)
		for _, e := range n.elifs {
			add(e)
		}
		add(n.orElse...)
	case *macroNode:
		sign(n.signature)
		add(n.body...)
	case *callBlock:
		if n.call != nil {
			add(n.call)
		}
		sign(n.signature)
		add(n.body...)
	case *filterBlock:
		add(n.body...)
		add(n.filter)
	case *withNode:
		add(n.targets...)
		add(n.values...)
		add(n.body...)
	case *scopeNode:
		add(n.body...)
	case *blockNode:
		add(n.body...)
	case *assignNode:
		add(n.target, n.value)
	case *assignBlock:
		add(n.target)
		if n.filter != nil {
			add(n.filter)
		}
		add(n.body...)
	case *templateRef:
		add(n.template)
	}
	return c
}

// walk calls visit for n and all below it, as far as visit returns true.
func walk(n node, visit func(node) bool) {
	if !visit(n) {
		return
	}
	for _, c := range children(n) {
		walk(c, visit)
	}
}
