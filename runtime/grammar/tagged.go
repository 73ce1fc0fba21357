package grammar

import "strconv"

// tagged is what OpenAPI's discriminator beside some schemas says of each of them: it
// has the property that tells them apart. Each gives it values of its own.
func (c *compiler) tagged(s object, parts []any, path string) (object, error) {
	v, ok := s.get("discriminator")
	if !ok {
		return nil, nil
	}
	d, _ := v.(object)
	tag, _ := d.get("propertyName")
	name, ok := tag.(string)
	if !ok {
		return nil, fault(path, "has a discriminator beside it without the text propertyName: give the name of a property")
	}
	for i, p := range parts {
		at := path + "/" + strconv.Itoa(i)
		part, err := c.resolved(p, at)
		if err != nil {
			return nil, err
		}
		properties, err := propertiesOf(part, at)
		if err != nil {
			return nil, err
		}
		p, _ := properties.get(name)
		property, isSchema := p.(object)
		if isSchema {
			if property, err = c.resolved(property, at); err != nil {
				return nil, err
			}
		}
		if !property.has("const") && !property.has("enum") {
			return nil, fault(at, "gives %s, the discriminator's property, no const and no enum: give it one", quote(name))
		}
	}
	return object{{"required", []any{name}}}, nil
}
