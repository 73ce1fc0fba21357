package grammar

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// combined is a schema with $ref, allOf, anyOf or oneOf: what stands beside the
// keyword holds of each of its parts.
func (c *compiler) combined(s object, keyword string, v any, path string) (expr, error) {
	beside := slices.DeleteFunc(slices.Clone(s), func(m member) bool { return m.name == keyword || passed[m.name] })
	if keyword == "$ref" {
		return c.ref(beside, v, path)
	}
	parts, isList := v.([]any)
	if !isList || len(parts) == 0 {
		return nil, fault(path+"/"+keyword, "is no list of schemas")
	}
	at := func(i int) string { return path + "/" + keyword + "/" + strconv.Itoa(i) }
	if keyword == "allOf" {
		all := beside
		for i, p := range parts {
			p, err := c.resolved(p, at(i))
			if err != nil {
				return nil, err
			}
			if all, err = c.merge(all, p, at(i)); err != nil {
				return nil, err
			}
		}
		return c.merged(all, path)
	}
	if keyword == "oneOf" {
		if err := c.disjoint(parts, needs(beside), path); err != nil {
			return nil, err
		}
	}
	var either choice
	for i, p := range parts {
		if len(beside) > 0 {
			part, err := c.resolved(p, at(i))
			if err != nil {
				return nil, err
			}
			all, err := c.merge(beside, part, at(i))
			if err != nil {
				return nil, err
			}
			e, err := c.merged(all, at(i))
			if err != nil {
				return nil, err
			}
			either = append(either, e)
			continue
		}
		e, err := c.schema(p, at(i))
		if err != nil {
			return nil, err
		}
		either = append(either, e)
	}
	return either, nil
}

// merged is a schema that was made of others: one that refers to itself is made
// once.
func (c *compiler) merged(s object, path string) (expr, error) {
	if !c.left.read(s) {
		return nil, fault(path, "cannot be kept to: %s", ErrTooLarge)
	}
	key := canonical(s)
	return c.rule("merged "+key, path, func() (expr, error) { return c.schema(s, path) })
}

// resolved is a schema as an object, its references followed and its discriminator
// put as what it requires.
func (c *compiler) resolved(v any, path string) (object, error) {
	if c.nested++; c.nested > 2*maxDepth || !c.left.spend(stepOf(v)) {
		return nil, fault(path, "refers to itself")
	}
	defer func() { c.nested-- }()
	for range maxDepth {
		switch s := v.(type) {
		case bool:
			if s {
				return object{}, nil
			}
			return nil, fault(path, "is false, which nothing satisfies")
		case object:
			s, err := c.tagged(s, path)
			if err != nil {
				return nil, err
			}
			ref, ok := s.get("$ref")
			if !ok {
				return s, nil
			}
			target, where, err := c.find(ref, path)
			if err != nil {
				return nil, err
			}
			beside := slices.DeleteFunc(slices.Clone(s), func(m member) bool { return m.name == "$ref" || passed[m.name] })
			if len(beside) == 0 {
				v, path = target, where
				continue
			}
			other, err := c.resolved(target, where)
			if err != nil {
				return nil, err
			}
			return c.merge(beside, other, path)
		default:
			return nil, fault(path, "is no schema: it has to be an object, true or false")
		}
	}
	return nil, fault(path, "refers to itself")
}

// merge is a schema of what satisfies two.
func (c *compiler) merge(a, b object, path string) (object, error) {
	if !c.left.read(a) || !c.left.read(b) {
		return nil, fault(path, "cannot be kept to: %s", ErrTooLarge)
	}
	if err := closed(a, b, path); err != nil {
		return nil, err
	}
	if err := closed(b, a, path); err != nil {
		return nil, err
	}
	_, lists := a.get("prefixItems")
	_, too := b.get("prefixItems")
	_, items := a.get("items")
	if _, others := b.get("items"); lists && (too || others) || too && items {
		return nil, fault(path+"/prefixItems", "stands beside items of another schema: put both into one")
	}
	if a.has("additionalItems") && b.has("items") || b.has("additionalItems") && a.has("items") {
		return nil, fault(path+"/additionalItems", "stands beside items of another schema: put both into one")
	}
	all := slices.Clone(a)
	for _, m := range b {
		if passed[m.name] {
			continue
		}
		i := slices.IndexFunc(all, func(o member) bool { return o.name == m.name })
		if i < 0 {
			all = append(all, m)
			continue
		}
		v, err := mergeKeyword(m.name, all[i].value, m.value, path)
		if err != nil {
			return nil, err
		}
		all[i].value = v
	}
	return all, nil
}

// closed refuses to merge a schema that allows only its own properties with one
// that has others.
func closed(a, b object, path string) error {
	only, ok := a.get("additionalProperties")
	if !ok || only == true {
		return nil
	}
	if b.has("patternProperties") && !a.has("patternProperties") {
		return fault(path, "has patternProperties, which the additionalProperties beside it are for: put both into one schema")
	}
	mine, err := propertiesOf(a, path)
	if err != nil {
		return err
	}
	theirs, err := propertiesOf(b, path)
	if err != nil {
		return err
	}
	for _, p := range theirs {
		if _, known := mine.get(p.name); !known {
			return fault(path, "has the property %s, which the additionalProperties beside it are for: put all properties into one schema", quote(p.name))
		}
	}
	return nil
}

func mergeKeyword(name string, a, b any, path string) (any, error) {
	if alike(a, b) {
		return a, nil
	}
	switch name {
	case "required":
		x, isList := a.([]any)
		y, too := b.([]any)
		if isList && too {
			return append(slices.Clone(x), y...), nil
		}
	case "properties":
		x, isObject := a.(object)
		y, too := b.(object)
		if isObject && too {
			both := slices.Clone(x)
			for _, m := range y {
				if i := slices.IndexFunc(both, func(o member) bool { return o.name == m.name }); i >= 0 {
					both[i].value = allOf(both[i].value, m.value)
				} else {
					both = append(both, m)
				}
			}
			return both, nil
		}
	case "minLength", "minItems", "minimum", "exclusiveMinimum", "maxLength", "maxItems", "maximum", "exclusiveMaximum":
		x, err := rational(a, path+"/"+name)
		if err != nil {
			return nil, err
		}
		y, err := rational(b, path+"/"+name)
		if err != nil {
			return nil, err
		}
		if larger := x.Cmp(y) > 0; larger == (strings.HasPrefix(name, "min") || name == "exclusiveMinimum") {
			return a, nil
		}
		return b, nil
	case "type":
		return mergeTypes(a, b, path)
	case "enum":
		x, isList := a.([]any)
		y, too := b.([]any)
		if isList && too {
			return common(x, y), nil
		}
	case "items":
		if !isList(a) && !isList(b) {
			return allOf(a, b), nil
		}
	}
	return nil, fault(path+"/"+name, "says something else than the schema beside it: put both into one")
}

// common are the values of two lists, objects and lists in one spelling alone.
func common(x, y []any) (both []any) {
	spelt := map[string]bool{}
	for _, v := range y {
		spelt[canonical(v)] = true
	}
	for _, v := range x {
		if spelt[canonical(v)] {
			both = append(both, v)
		}
	}
	return both
}

// alike reports whether two values are written in the same way.
func alike(a, b any) bool {
	switch a := a.(type) {
	case object:
		b, ok := b.(object)
		return ok && slices.EqualFunc(a, b, func(m, n member) bool { return m.name == n.name && alike(m.value, n.value) })
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, alike)
	}
	switch b.(type) {
	case object, []any:
		return false
	}
	return a == b
}

// allOf is a schema of what satisfies two.
func allOf(a, b any) object {
	if o, ok := a.(object); ok && len(o) == 1 && o[0].name == "allOf" {
		if list, ok := o[0].value.([]any); ok {
			return object{{"allOf", append(slices.Clone(list), b)}}
		}
	}
	return object{{"allOf", []any{a, b}}}
}

func mergeTypes(a, b any, path string) (any, error) {
	x, err := typesOf(object{{"type", a}}, path)
	if err != nil {
		return nil, err
	}
	y, err := typesOf(object{{"type", b}}, path)
	if err != nil {
		return nil, err
	}
	var both []any
	for _, t := range x {
		switch {
		case slices.Contains(y, t), t == "integer" && slices.Contains(y, "number"):
			both = append(both, t)
		case t == "number" && slices.Contains(y, "integer"):
			both = append(both, "integer")
		}
	}
	if len(both) == 0 {
		return nil, fault(path+"/type", "has no type in common with the schema beside it")
	}
	return both, nil
}

// disjoint refuses a oneOf of which an instance might satisfy two schemas.
// What stands beside it requires is required by each.
func (c *compiler) disjoint(parts []any, beside object, path string) error {
	all := make([]object, len(parts))
	for i, p := range parts {
		var err error
		at := path + "/oneOf/" + strconv.Itoa(i)
		if all[i], err = c.resolved(p, at); err != nil {
			return err
		}
		if all[i], err = c.merge(all[i], beside, at); err != nil {
			return err
		}
	}
	if distinct(all) {
		return nil
	}
	for i := range all {
		for j := range i {
			apart := c.apart(all[j], all[i], 0)
			if !c.left.spend(500) { // before it was found, maybe
				return fault(path+"/oneOf", "cannot be kept to: %s", ErrTooLarge)
			}
			if !apart {
				return fault(path+"/oneOf", "may have instances of both %d and %d, of which only one is to hold: give them different types, or a property each with a const of its own, or use anyOf", j, i)
			}
		}
	}
	return nil
}

// distinct reports whether each of some schemas is for plain values of its own.
func distinct(all []object) bool {
	seen := map[string]bool{}
	for _, s := range all {
		values, ok, err := valuesOf(s, "")
		if !ok || err != nil {
			return false
		}
		own := map[string]bool{}
		for _, v := range values {
			switch v.(type) {
			case object, []any:
				return false
			}
			own[canonical(v)] = true
		}
		for v := range own {
			if seen[v] {
				return false
			}
			seen[v] = true
		}
	}
	return true
}

// apart reports that no value satisfies both of two schemas: they have no type,
// no named value, or no value of a required property in common. It may be so
// where it is not found.
func (c *compiler) apart(a, b object, depth int) bool {
	if depth > 4 {
		return false
	}
	x, errX := typesOf(a, "")
	y, errY := typesOf(b, "")
	if errX != nil || errY != nil {
		return false
	}
	if _, err := mergeTypes(listOf(x), listOf(y), ""); err != nil {
		return true
	}
	if u, ok, err := valuesOf(a, ""); ok && err == nil {
		if v, ok, err := valuesOf(b, ""); ok && err == nil {
			return !slices.ContainsFunc(u, func(one any) bool {
				return slices.ContainsFunc(v, func(other any) bool { return same(one, other) })
			})
		}
	}
	if c.partsApart(a, b, depth) || c.partsApart(b, a, depth) {
		return true
	}
	if !slices.Equal(x, []string{"object"}) || !slices.Equal(y, []string{"object"}) {
		return false
	}
	mine, errX := propertiesOf(a, "")
	theirs, errY := propertiesOf(b, "")
	needed, errN := namesOf(a, "")
	needed2, errM := namesOf(b, "")
	if errX != nil || errY != nil || errN != nil || errM != nil {
		return false
	}
	for _, n := range needed {
		p, known := mine.get(n)
		q, too := theirs.get(n)
		if only, _ := b.get("additionalProperties"); !too && only == false {
			return true // b may not have it
		}
		if !known || !too || !slices.Contains(needed2, n) {
			continue
		}
		u, errP := c.resolved(p, "")
		v, errQ := c.resolved(q, "")
		if errP == nil && errQ == nil && c.apart(u, v, depth+1) {
			return true
		}
	}
	for _, n := range needed2 {
		if _, too := mine.get(n); !too {
			if only, _ := a.get("additionalProperties"); only == false {
				return true
			}
		}
	}
	return false
}

// partsApart reports that b is apart from each of the parts that a is one of.
func (c *compiler) partsApart(a, b object, depth int) bool {
	for _, keyword := range []string{"anyOf", "oneOf"} {
		v, _ := a.get(keyword)
		parts, _ := v.([]any)
		if len(parts) > 0 && !slices.ContainsFunc(parts, func(p any) bool {
			part, err := c.resolved(p, "")
			if err == nil {
				part, err = c.merge(part, needs(a), "")
			}
			return err != nil || !c.apart(part, b, depth+1)
		}) {
			return true
		}
	}
	return false
}

// needs is what a schema requires, as a schema.
func needs(s object) object {
	return slices.DeleteFunc(slices.Clone(s), func(m member) bool { return m.name != "required" })
}

func listOf(names []string) (all []any) {
	for _, n := range names {
		all = append(all, n)
	}
	return all
}

// same reports whether two values may be equal in JSON: numbers are by value, and
// objects whatever the order of their members.
func same(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, too := b.(json.Number)
	if isNumber && too {
		u, errU := rational(x, "")
		v, errV := rational(y, "")
		return errU != nil || errV != nil || u.Cmp(v) == 0
	}
	if isNumber != too {
		return false
	}
	o, isObject := a.(object)
	p, too := b.(object)
	if isObject && too {
		return len(o) == len(p) && !slices.ContainsFunc(o, func(m member) bool {
			v, ok := p.get(m.name)
			return !ok || !same(m.value, v)
		})
	}
	return canonical(a) == canonical(b)
}
