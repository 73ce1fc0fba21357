package grammar

import (
	"net/url"
	"strconv"
	"strings"
)

// ref is the rule of what a reference names.
func (c *compiler) ref(beside object, v any, path string) (expr, error) {
	target, where, err := c.find(v, path)
	if err != nil {
		return nil, err
	}
	if len(beside) > 0 {
		resolved, err := c.resolved(target, where)
		if err != nil {
			return nil, err
		}
		merged, err := c.merge(beside, resolved, path)
		if err != nil {
			return nil, err
		}
		return c.merged(merged, path)
	}
	return c.rule(where, where, func() (expr, error) { return c.schema(target, where) })
}

// find is what a reference names, and its pointer.
func (c *compiler) find(v any, path string) (target any, where string, err error) {
	name, _ := v.(string)
	if name != "#" && !strings.HasPrefix(name, "#/") {
		return nil, "", fault(path+"/$ref", "is %s: only references into the schema itself are followed, as #/$defs/name", canonical(v))
	}
	target = c.root
	for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(name, "#"), "/"), "/") {
		if name == "#" {
			break
		}
		if plain, err := url.PathUnescape(part); err == nil {
			part = plain
		}
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		var ok bool
		switch at := target.(type) {
		case object:
			target, ok = at.get(part)
		case []any:
			if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(at) {
				target, ok = at[i], true
			}
		}
		if !ok {
			return nil, "", fault(path+"/$ref", "names %s, which is not there", name)
		}
	}
	return target, name, nil
}
