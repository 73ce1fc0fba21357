package grammar

import "slices"

// members is an object: some that are named, in their order, and any number of
// others after them.
type members struct {
	named []property
	rest  expr // nil: there are no others
}

type property struct {
	is       expr // name, colon and value
	required bool
}

// build keeps two rows of states, of objects that have no member yet and of those
// that have: the latter need a comma first.
func (m members) build(b *builder, from, to int) {
	none, some, last := b.state(), b.state(), b.state()
	b.lay(text("{"), from, none)
	b.lay(text("}"), last, to)
	for _, p := range m.named {
		after, without := b.state(), b.state()
		if b.fault != nil {
			return
		}
		b.lay(p.is, none, after)
		b.lay(sequence{text(comma), p.is}, some, after)
		if !p.required {
			b.skip(none, without)
			b.skip(some, after)
		}
		none, some = without, after
	}
	if m.rest != nil {
		b.lay(m.rest, none, some)
		b.lay(sequence{text(comma), m.rest}, some, some)
	}
	b.skip(none, last)
	b.skip(some, last)
}

func (c *compiler) properties(s object, path string) (expr, error) {
	declared, err := propertiesOf(s, path)
	if err != nil {
		return nil, err
	}
	required, err := namesOf(s, path)
	if err != nil {
		return nil, err
	}
	var others any = true
	of := path + "/additionalProperties"
	if v, ok := s.get("additionalProperties"); ok {
		others = v
	}
	p, ok, err := onlyPattern(s, path)
	if err != nil {
		return nil, err
	}
	if ok {
		others, of = p.value, path+"/patternProperties/"+pointer(p.name)
	}
	allowed, err := c.keys(s, path)
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	for _, n := range required {
		switch ok, err := allowed.allows(n); {
		case err != nil:
			return nil, err
		case !ok:
			return nil, fault(path+"/required", "names %s, which %s does not allow", quote(n), allowed.by)
		}
		needed[n] = true
	}
	var m members
	var names []string
	for _, p := range declared {
		at := path + "/properties/" + pointer(p.name)
		e, err := c.schema(p.value, at)
		if err != nil {
			return nil, err
		}
		ok, err := allowed.allows(p.name)
		if err != nil {
			return nil, err
		}
		if needed[p.name] || ok && !isNothing(e) {
			m.named = append(m.named, property{sequence{text(quote(p.name) + colon), c.shared(e, at)}, needed[p.name]})
		}
		names = append(names, p.name)
		delete(needed, p.name)
	}
	if others == false {
		for _, n := range required {
			if needed[n] {
				return nil, fault(path+"/required", "names %s, which is not among the properties, and there may be no others", quote(n))
			}
		}
		return m, nil
	}
	e, err := c.schema(others, of)
	if err != nil {
		return nil, err
	}
	e = c.shared(e, of)
	for _, n := range required {
		if needed[n] {
			delete(needed, n)
			m.named = append(m.named, property{sequence{text(quote(n) + colon), e}, true})
			names = append(names, n)
		}
	}
	if allowed.values != nil {
		for _, n := range allowed.values {
			if !slices.Contains(names, n) {
				m.named = append(m.named, property{sequence{text(quote(n) + colon), e}, false})
				names = append(names, n) // an enum may name it again
			}
		}
		return m, nil
	}
	name, err := c.nameBut(allowed, names)
	m.rest = sequence{name, text(colon), e}
	return m, err
}

func isNothing(e expr) bool {
	c, ok := e.(choice)
	return ok && len(c) == 0
}

func propertiesOf(s object, path string) (object, error) {
	v, ok := s.get("properties")
	if !ok {
		return nil, nil
	}
	o, ok := v.(object)
	if !ok {
		return nil, fault(path+"/properties", "is no object")
	}
	return o, nil
}

// namesOf are those of the required properties.
func namesOf(s object, path string) (names []string, err error) {
	v, ok := s.get("required")
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fault(path+"/required", "is no list")
	}
	for _, one := range list {
		n, isText := one.(string)
		if !isText {
			return nil, fault(path+"/required", "names %s, which is no text", canonical(one))
		}
		names = append(names, n)
	}
	return names, nil
}
