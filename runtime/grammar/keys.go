package grammar

import (
	"fmt"
	"slices"
)

// keys are the names that propertyNames allows the members of an object.
type keys struct {
	path   string
	by     string   // the keyword that says it
	only   object   // a schema of texts; nil: any name
	values []string // all that there are, where enum or const names them
	match  func(text string) (bool, error)
}

func (c *compiler) keys(s object, path string) (k keys, err error) {
	k.by = "propertyNames"
	v, ok := s.get(k.by)
	if p, has, err := onlyPattern(s, path); err != nil {
		return k, err
	} else if has {
		k.by, v, ok = "patternProperties", object{{"pattern", p.name}}, true
	}
	if !ok {
		return k, nil
	}
	k.path = path + "/" + k.by
	schema, err := c.resolved(v, k.path)
	if err != nil {
		return k, err
	}
	if schema, err = c.merge(object{{"type", "string"}}, schema, k.path); err != nil {
		return k, err
	}
	for _, keyword := range []string{"allOf", "anyOf", "oneOf"} {
		if _, ok := schema.get(keyword); ok {
			return k, fault(k.path+"/"+keyword, "is not supported of names: give a pattern, or an enum")
		}
	}
	side := newCompiler(c.root, c.left)
	side.nested = c.nested
	e, err := side.schema(schema, k.path)
	if err != nil || len(schema) == 1 {
		return k, err
	}
	g, err := side.grammar(e, k.path)
	if err != nil {
		return k, err
	}
	k.only, k.match = schema, g.match
	values, named, err := valuesOf(schema, k.path)
	if !named || err != nil {
		return k, err
	}
	k.values = []string{}
	for _, v := range values {
		if name, isText := v.(string); isText {
			if ok, err := k.allows(name); ok && err == nil {
				k.values = append(k.values, name)
			}
		}
	}
	return k, nil
}

// onlyPattern is the pattern that the names of an object's members match, with the
// schema of these, where patternProperties names it.
func onlyPattern(s object, path string) (p member, ok bool, err error) {
	v, ok := s.get("patternProperties")
	if !ok {
		return p, false, nil
	}
	path += "/patternProperties"
	patterns, isObject := v.(object)
	if !isObject || len(patterns) != 1 {
		return p, false, fault(path, "is supported as an object with one pattern")
	}
	if others, given := s.get("additionalProperties"); given && others != false {
		return p, false, fault(path, "has additionalProperties beside it, which may only be false: there are no members but those of the pattern")
	}
	for _, beside := range []string{"properties", "propertyNames"} {
		if s.has(beside) {
			return p, false, fault(path, "has %s beside it, which is not supported: leave one of both out", beside)
		}
	}
	return patterns[0], true, nil
}

// allows reports whether a member may have the name.
func (k *keys) allows(name string) (bool, error) {
	if k.only == nil {
		return true, nil
	}
	is, err := k.match(quote(name))
	if err != nil {
		return false, fault(k.path, "cannot be kept to: %s", err)
	}
	return is, nil
}

// nameBut is any name that is allowed but these.
func (c *compiler) nameBut(k keys, names []string) (expr, error) {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { ok, err := k.allows(n); return !ok && err == nil })
	all, err := textOf(k.only, k.path)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		var known choice
		for _, n := range names {
			known = append(known, text(quote(n)))
		}
		all.key += fmt.Sprintf(" but %q", names)
		all.whole = named{is: product{a: all.whole.is, b: known, without: true}}
	}
	return c.text(all, k.path)
}
