package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SchemaError is a part of a schema that answers cannot be kept to.
type SchemaError struct {
	Path string // a JSON pointer: #/properties/age/minimum
	Why  string
}

func (e *SchemaError) Error() string { return e.Path + " " + e.Why }

// maxSchema bounds the text of a schema, in bytes.
const maxSchema = 256 << 10

// Schema is the grammar of a JSON schema's instances, written with their
// properties in the schema's order, one blank after commas and colons, the
// shortest escapes, and numbers without exponents. docs/structured.md has the
// keywords; one that would have to be passed over is refused by its path.
func Schema(schema []byte) (*Grammar, error) {
	if len(schema) > maxSchema {
		return nil, fault("#", "has %d bytes: at most %d are taken", len(schema), maxSchema)
	}
	v, err := parseJSON(schema)
	if err != nil {
		return nil, fault("#", "is not JSON: %s", err)
	}
	c := newCompiler(v, newBudget())
	e, err := c.schema(v, "#")
	if err != nil {
		return nil, err
	}
	return c.grammar(e, "#")
}

// JSON is the grammar of any object.
func JSON() (*Grammar, error) { return Schema([]byte(`{"type": "object"}`)) }

type compiler struct {
	root   any
	rules  []named
	paths  []string       // of the rules, where they are told
	refs   map[string]int // rules by what they are of
	left   *budget
	nested int // schemas that are being compiled
}

func newCompiler(root any, left *budget) *compiler {
	return &compiler{root: root, rules: []named{{}}, paths: []string{"#"}, refs: map[string]int{}, left: left}
}

// grammar is that of an expression that may call the rules so far.
func (c *compiler) grammar(e expr, path string) (*Grammar, error) {
	c.rules[0].is = e
	g, err := newGrammar(c.rules, c.left)
	var at *ruleError
	if errors.As(err, &at) && c.paths[at.rule] != "" {
		path = c.paths[at.rule]
	}
	if err != nil {
		return nil, fault(path, "cannot be kept to: %s", err)
	}
	return g, nil
}

func fault(path, format string, args ...any) error {
	return &SchemaError{short(path), short(fmt.Sprintf(format, args...))}
}

// short is a text without its middle if it is long.
func short(text string) string {
	const most = 400
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most/2], "") + "…" + strings.ToValidUTF8(text[len(text)-most/2:], "")
}

// add adds a rule.
func (c *compiler) add(r named, path string) int {
	c.rules, c.paths = append(c.rules, r), append(c.paths, path)
	return len(c.rules) - 1
}

// rule is a rule that many places call.
func (c *compiler) rule(key, path string, make func() (expr, error)) (expr, error) {
	if n, ok := c.refs[key]; ok {
		return call(n), nil
	}
	n := c.add(named{}, path)
	c.refs[key] = n
	e, err := make()
	c.rules[n].is = e
	return call(n), err
}

// library is a rule that many grammars have.
func (c *compiler) library(r named) call {
	known, _ := c.rule("library "+r.name, "", func() (expr, error) { return r.is, nil })
	n := known.(call)
	c.rules[n] = r
	return n
}

func (c *compiler) anyString() expr {
	return c.library(named{name: "string", strings: true, is: anyString})
}
func (c *compiler) anyNumber() expr  { return c.library(named{name: "number", is: number}) }
func (c *compiler) anyInteger() expr { return c.library(named{name: "integer", is: integer}) }

// any is any value.
func (c *compiler) any() expr {
	e, _ := c.rule("any", "", func() (expr, error) {
		return choice{
			c.anyString(), c.anyNumber(), text("true"), text("false"), text("null"),
			list(nil, c.any(), 0, -1), members{rest: sequence{c.anyString(), text(colon), c.any()}},
		}, nil
	})
	return e
}

// types are what a schema may be of, in the order in which they are tried.
var types = []string{"object", "array", "string", "number", "integer", "boolean", "null"}

// said are the keywords that say what an instance is.
var said = map[string]bool{
	"properties": true, "required": true, "additionalProperties": true, "propertyNames": true, "patternProperties": true,
	"items": true, "prefixItems": true, "additionalItems": true, "minItems": true, "maxItems": true,
	"minLength": true, "maxLength": true, "pattern": true, "format": true, "contentEncoding": true,
	"minimum": true, "maximum": true, "exclusiveMinimum": true, "exclusiveMaximum": true, "multipleOf": true,
	"type": true, "enum": true, "const": true, "anyOf": true, "oneOf": true, "allOf": true, "$ref": true,
}

// passed says nothing of what an instance is.
var passed = map[string]bool{
	"title": true, "description": true, "default": true, "example": true, "examples": true, "deprecated": true, "readOnly": true, "writeOnly": true,
	"$schema": true, "$id": true, "$comment": true, "$defs": true, "definitions": true,
	"contentMediaType": true, "contentSchema": true, // what a text has in it is not looked at
}

// isDialect reports whether a schema's $schema is one of JSON Schema's drafts. What
// they do not have in common is refused where it stands.
func isDialect(v any) bool {
	name, _ := v.(string)
	_, name, _ = strings.Cut(strings.TrimSuffix(name, "#"), "://json-schema.org/")
	return slices.Contains([]string{"schema", "draft-04/schema", "draft-06/schema", "draft-07/schema", "draft/2019-09/schema", "draft/2020-12/schema"}, name)
}

// schema is the expression of a schema's instances.
func (c *compiler) schema(v any, path string) (expr, error) {
	if c.nested++; c.nested > maxDepth {
		return nil, fault(path, "nests deeper than %d", maxDepth)
	}
	defer func() { c.nested-- }()
	if !c.left.spend(stepOf(v)) {
		return nil, fault(path, "cannot be kept to: %s", ErrTooLarge)
	}
	switch v := v.(type) {
	case bool:
		if v {
			return c.any(), nil
		}
		return choice{}, nil
	case object:
		return c.object(v, path)
	}
	return nil, fault(path, "is no schema: it has to be an object, true or false")
}

func (c *compiler) object(s object, path string) (expr, error) {
	if _, ok := s.get("$id"); ok && path != "#" {
		return nil, fault(path+"/$id", "is not supported but at the schema's root: references are into the schema as a whole")
	}
	if v, ok := s.get("$schema"); ok && !isDialect(v) {
		return nil, fault(path+"/$schema", "is %s, which is none of JSON Schema's drafts", canonical(v))
	}
	s, err := c.tagged(s, path)
	if err != nil {
		return nil, err
	}
	for _, m := range s {
		if !said[m.name] && !passed[m.name] {
			return nil, fault(path+"/"+pointer(m.name), "is not supported: leave it out, or say it otherwise")
		}
	}
	for _, keyword := range []string{"$ref", "allOf", "anyOf", "oneOf"} {
		if v, ok := s.get(keyword); ok {
			return c.combined(s, keyword, v, path)
		}
	}
	if !slices.ContainsFunc(s, func(m member) bool { return !passed[m.name] }) {
		return c.any(), nil
	}
	wanted, err := typesOf(s, path)
	if err != nil {
		return nil, err
	}
	if values, ok, err := valuesOf(s, path); ok || err != nil {
		return c.oneOfValues(s, values, path, err)
	}
	var all choice
	for _, t := range wanted {
		e, err := c.typed(t, s, path)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// typesOf are the types that a schema allows.
func typesOf(s object, path string) ([]string, error) {
	v, ok := s.get("type")
	if !ok {
		return slices.DeleteFunc(slices.Clone(types), func(t string) bool { return t == "integer" }), nil
	}
	names, isList := v.([]any)
	if !isList {
		names = []any{v}
	}
	var wanted []string
	for _, n := range names {
		t, _ := n.(string)
		if !slices.Contains(types, t) {
			return nil, fault(path+"/type", "names no type: %s", canonical(n))
		}
		wanted = append(wanted, t)
	}
	if len(wanted) == 0 {
		return nil, fault(path+"/type", "names no type")
	}
	if slices.Contains(wanted, "number") {
		wanted = slices.DeleteFunc(wanted, func(t string) bool { return t == "integer" })
	}
	return wanted, nil
}

// valuesOf are those that enum or const name.
func valuesOf(s object, path string) (values []any, ok bool, err error) {
	one, isConst := s.get("const")
	list, isEnum := s.get("enum")
	if isEnum {
		if values, ok = list.([]any); !ok {
			return nil, true, fault(path+"/enum", "is no list")
		}
	}
	if isConst {
		if isEnum {
			values = slices.DeleteFunc(slices.Clone(values), func(v any) bool { return !same(v, one) })
		} else {
			values = []any{one}
		}
	}
	return values, isConst || isEnum, nil
}

// oneOfValues are the values that the schema's other keywords allow.
func (c *compiler) oneOfValues(s object, values []any, path string, err error) (expr, error) {
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(s), func(m member) bool { return m.name == "enum" || m.name == "const" || passed[m.name] })
	allowed := func(string) (bool, error) { return true, nil }
	if len(others) > 0 {
		side := newCompiler(c.root, c.left)
		side.nested = c.nested
		e, err := side.schema(others, path)
		if err != nil {
			return nil, err
		}
		g, err := side.grammar(e, path)
		if err != nil {
			return nil, err
		}
		allowed = g.match
	}
	var all choice
	for _, v := range values {
		t := canonical(v)
		switch is, err := allowed(t); {
		case err != nil:
			return nil, fault(path, "cannot be kept to: %s", err)
		case is:
			all = append(all, text(t))
		case !plainly(v):
			return nil, fault(path, "names %s, which is not in the form that the keywords beside it give: leave one of both out", t)
		}
	}
	if len(all) == 0 {
		return nil, fault(path, "allows none of its own values")
	}
	return all, nil
}

// plainly reports whether a value has one spelling, so that it does not satisfy a
// schema whose grammar has not that: an object has an order, and a number may have
// more digits than are read.
func plainly(v any) bool {
	switch v := v.(type) {
	case object:
		return false
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !plainly(e) })
	case json.Number:
		_, err := rational(v, "")
		return err == nil
	}
	return true
}

// typed is the expression of the instances of one type.
func (c *compiler) typed(t string, s object, path string) (expr, error) {
	switch t {
	case "object":
		return c.properties(s, path)
	case "array":
		return c.array(s, path)
	case "string":
		t, err := textOf(s, path)
		if err != nil {
			return nil, err
		}
		return c.text(t, path)
	case "number", "integer":
		return c.number(s, path, t == "integer")
	case "boolean":
		return choice{text("true"), text("false")}, nil
	}
	return text("null"), nil
}

// stepOf is the work of compiling a schema without those in it.
func stepOf(v any) int {
	o, _ := v.(object)
	return 32 + 8*len(o)
}

// pointer escapes a name in a JSON pointer.
func pointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
