package grammar

import "slices"

// keys are the names that propertyNames allows the members of an object.
type keys struct {
	path   string
	only   object   // a schema of texts; nil: any name
	values []string // all that there are, where enum or const names them
	match  func(text string) (bool, error)
}

func (c *compiler) keys(s object, path string) (k keys, err error) {
	v, ok := s.get("propertyNames")
	if !ok {
		return k, nil
	}
	k.path = path + "/propertyNames"
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
	switch {
	case len(names) == 0 && k.only == nil:
		return c.anyString(), nil
	case len(names) == 0:
		return c.text(k.only, k.path)
	}
	all := expr(anyString)
	if k.only != nil {
		t, err := textOf(k.only, k.path)
		if err != nil {
			return nil, err
		}
		all = t.plain()
	}
	var known choice
	for _, n := range names {
		known = append(known, text(quote(n)))
	}
	return product{a: all, b: known, without: true}, nil
}
