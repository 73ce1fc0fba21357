package grammar

import (
	"slices"
	"strconv"
)

// tagged is a schema without OpenAPI's discriminator, which says of the schemas beside
// it that each has the property that tells them apart: it is required. Each gives it
// values of its own.
func (c *compiler) tagged(s object, path string) (object, error) {
	v, ok := s.get("discriminator")
	if !ok {
		return s, nil
	}
	keyword := "anyOf"
	if !s.has(keyword) {
		keyword = "oneOf"
	}
	either, ok := s.get(keyword)
	if !ok {
		return nil, fault(path+"/discriminator", "has no oneOf or anyOf beside it: leave it out")
	}
	parts, _ := either.([]any)
	d, _ := v.(object)
	tag, _ := d.get("propertyName")
	name, ok := tag.(string)
	if !ok {
		return nil, fault(path+"/"+keyword, "has a discriminator beside it without the text propertyName: give the name of a property")
	}
	of := map[string]int{} // the parts by their values
	for i, p := range parts {
		at := path + "/" + keyword + "/" + strconv.Itoa(i)
		tags, err := c.tags(p, name, at)
		if err != nil {
			return nil, err
		}
		for _, v := range tags {
			value := canonical(v)
			if other, known := of[value]; known && other != i {
				return nil, fault(at, "gives %s, the discriminator's property, the value %s, as %d does: give each values of its own", quote(name), value, other)
			}
			of[value] = i
		}
	}
	rest := slices.DeleteFunc(slices.Clone(s), func(m member) bool { return m.name == "discriminator" })
	return c.merge(rest, object{{"required", []any{name}}}, path)
}

// tags are the values that a schema, or each of those it is one of, gives a
// discriminator's property.
func (c *compiler) tags(v any, name, path string) (all []any, err error) {
	if c.nested++; c.nested > maxDepth {
		return nil, fault(path, "nests deeper than %d", maxDepth)
	}
	defer func() { c.nested-- }()
	if !c.left.spend(64 + len(path)) {
		return nil, fault(path, "cannot be kept to: %s", ErrTooLarge)
	}
	s, err := c.resolved(v, path)
	if err != nil {
		return nil, err
	}
	properties, err := propertiesOf(s, path)
	if err != nil {
		return nil, err
	}
	if p, ok := properties.get(name); ok {
		property, err := c.resolved(p, path+"/properties/"+pointer(name))
		if err != nil {
			return nil, err
		}
		if values, ok, err := valuesOf(property, path+"/properties/"+pointer(name)); ok || err != nil {
			return values, err
		}
	}
	for _, keyword := range []string{"anyOf", "oneOf"} {
		v, _ := s.get(keyword)
		parts, _ := v.([]any)
		for i, p := range parts {
			tags, err := c.tags(p, name, path+"/"+keyword+"/"+strconv.Itoa(i))
			if err != nil {
				return nil, err
			}
			all = append(all, tags...)
		}
		if len(parts) > 0 {
			return all, nil
		}
	}
	return nil, fault(path, "gives %s, the discriminator's property, no const and no enum: give it one", quote(name))
}
