package jinja

import (
	"maps"
	"slices"
	"strings"
)

// attributes lists the constant names that are looked up in values.
func attributes(body []node) []string {
	found := map[string]bool{}
	add := func(path string) {
		for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' || r == ',' }) {
			found[part] = true
		}
	}
	constantText := func(n node) (string, bool) {
		c, ok := n.(*constant)
		if !ok {
			return "", false
		}
		return Text(c.value)
	}
	for _, n := range body {
		walk(n, func(n node) bool {
			switch n := n.(type) {
			case *attrNode:
				found[n.attr] = true
			case *itemNode:
				if s, ok := constantText(n.index); ok {
					found[s] = true
				}
			case *compareNode:
				if s, ok := constantText(n.first); ok && strings.HasSuffix(n.rest[0].op, "in") {
					found[s] = true
				}
			case *callNode:
				if f, ok := n.callee.(*attrNode); ok && f.attr == "get" && len(n.args.positional) > 0 {
					if s, ok := constantText(n.args.positional[0]); ok {
						found[s] = true
					}
				}
			case *filterNode:
				for _, arg := range attributeArguments(n) {
					if s, ok := constantText(arg); ok {
						add(s)
					}
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found))
}

// attributeArguments returns the arguments of a filter or test that name what it
// looks up in its operand's items.
func attributeArguments(n *filterNode) []node {
	var args []node
	for _, k := range n.args.keywords {
		if k.name == "attribute" {
			args = append(args, k.value)
		}
	}
	// Which positional argument is the name.
	at, ok := map[string]int{"attr": 0, "selectattr": 0, "rejectattr": 0, "groupby": 0, "sum": 0, "join": 1, "unique": 1, "min": 1, "max": 1, "sort": 2}[n.name]
	if ok && !n.isTest && at < len(n.args.positional) {
		args = append(args, n.args.positional[at])
	}
	if n.isTest && n.name == "in" && n.operand != nil {
		args = append(args, n.operand)
	}
	return args
}
