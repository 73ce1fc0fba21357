// Command apidoc writes docs/api.md from the description of the API, which the
// server's tests hold against its routes. `go generate ./serve` runs it.
package main

import (
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: apidoc openapi.yaml api.md")
	}
	source, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	page, err := write(source)
	if err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	if err := os.WriteFile(os.Args[2], page, 0o644); err != nil {
		log.Fatal(err)
	}
}

// api is what of an OpenAPI description the page has.
type api struct {
	Info       struct{ Description string }
	Tags       []struct{ Name, Description string }
	Everywhere members[struct{ Description string }] `yaml:"x-everywhere"`
	Paths      members[members[yaml.Node]]
	Components struct {
		Parameters    map[string]parameter
		RequestBodies map[string]body `yaml:"requestBodies"`
		Schemas       members[schema]
	}
}

// members are a mapping's, in the order in which they are written.
type members[T any] []struct {
	name  string
	value T
}

func (m *members[T]) UnmarshalYAML(node *yaml.Node) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		one := struct {
			name  string
			value T
		}{name: node.Content[i].Value}
		if err := node.Content[i+1].Decode(&one.value); err != nil {
			return err
		}
		*m = append(*m, one)
	}
	return nil
}

type operation struct {
	Tags        []string
	Summary     string
	Description string
	Parameters  []parameter
	RequestBody body `yaml:"requestBody"`
	Responses   members[yaml.Node]
}

type parameter struct {
	Ref                   string `yaml:"$ref"`
	Name, In, Description string
}

type body struct {
	Ref     string `yaml:"$ref"`
	Content map[string]struct{ Schema schema }
}

type schema struct {
	Ref              string    `yaml:"$ref"`
	Type             yaml.Node // a name or a list of them
	Description      string
	Enum             []any
	Default          yaml.Node
	Minimum          *float64
	Maximum          *float64
	ExclusiveMinimum *float64 `yaml:"exclusiveMinimum"`
	MinItems         *int     `yaml:"minItems"`
	MaxItems         *int     `yaml:"maxItems"`
	Items            *schema
	Properties       members[schema]
	Required         []string
	AnyOf            []schema `yaml:"anyOf"`
	OneOf            []schema `yaml:"oneOf"`
}

// row is a line of a section's table.
type row struct{ route, does, asks, answers string }

func write(source []byte) ([]byte, error) {
	var a api
	if err := yaml.Unmarshal(source, &a); err != nil {
		return nil, err
	}
	sections := map[string][]row{}
	for _, path := range a.Paths {
		var shared []parameter
		for _, method := range path.value {
			if method.name == "parameters" {
				if err := method.value.Decode(&shared); err != nil {
					return nil, err
				}
				continue
			}
			var o operation
			if err := method.value.Decode(&o); err != nil {
				return nil, fmt.Errorf("%s %s: %w", method.name, path.name, err)
			}
			o.Parameters = append(slices.Clone(shared), o.Parameters...)
			tag := o.Tags[0]
			sections[tag] = append(sections[tag], row{
				route: "`" + strings.ToUpper(method.name) + " " + path.name + "`",
				does:  line(o.Summary + sentence(o.Description)),
				asks:  a.asks(o), answers: statuses(o.Responses),
			})
		}
	}
	var out strings.Builder
	fmt.Fprint(&out, "<!-- go generate ./serve makes this page of serve/openapi.yaml, which GET /openapi.json answers. -->\n# API\n\n")
	fmt.Fprintf(&out, "%s\n\nAny route may also answer:\n\n| | |\n|---|---|\n", strings.TrimSpace(a.Info.Description))
	for _, answer := range a.Everywhere {
		fmt.Fprintf(&out, "| %s | %s |\n", answer.name, line(answer.value.Description))
	}
	for _, tag := range a.Tags {
		fmt.Fprintf(&out, "\n## %s\n\n%s.\n\n| route | | asks for | answers |\n|---|---|---|---|\n", tag.Name, line(tag.Description))
		for _, r := range sections[tag.Name] {
			fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", r.route, r.does, r.asks, r.answers)
		}
		delete(sections, tag.Name)
	}
	for tag := range sections {
		return nil, fmt.Errorf("%s is no tag", tag)
	}
	fmt.Fprint(&out, "\n## Objects\n")
	for _, s := range a.Components.Schemas {
		fmt.Fprintf(&out, "\n### %s\n\n%s", s.name, paragraph(s.value.Description))
		if len(s.value.Properties) == 0 {
			fmt.Fprintf(&out, "%s\n", kind(s.value))
			continue
		}
		fmt.Fprint(&out, "| field | type | |\n|---|---|---|\n")
		for _, field := range s.value.Properties {
			name := "`" + field.name + "`"
			if slices.Contains(s.value.Required, field.name) {
				name = "**" + name + "**"
			}
			fmt.Fprintf(&out, "| %s | %s | %s |\n", name, kind(field.value), line(field.value.Description))
		}
	}
	return []byte(out.String()), nil
}

// asks are an operation's parameters outside of the path, and its body.
func (a *api) asks(o operation) string {
	var parts []string
	for _, p := range o.Parameters {
		if p.Ref != "" {
			p = a.Components.Parameters[last(p.Ref)]
		}
		switch p.In {
		case "query":
			parts = append(parts, "`?"+p.Name+"=`")
		case "header":
			parts = append(parts, "`"+p.Name+"`")
		}
	}
	b := o.RequestBody
	if b.Ref != "" {
		b = a.Components.RequestBodies[last(b.Ref)]
	}
	for _, kindOf := range slices.Sorted(maps.Keys(b.Content)) {
		if s := b.Content[kindOf].Schema; kindOf == "application/json" {
			parts = append(parts, kind(s))
		} else {
			parts = append(parts, "`"+kindOf+"`")
		}
	}
	return strings.Join(parts, ", ")
}

func statuses(responses members[yaml.Node]) string {
	var all []string
	for _, r := range responses {
		all = append(all, r.name)
	}
	return strings.Join(all, " ")
}

// kind is a schema in a few words.
func kind(s schema) string {
	if s.Ref != "" {
		name := last(s.Ref)
		return "[" + name + "](#" + strings.ToLower(name) + ")"
	}
	var words []string
	alternatives := make([]string, 0, len(s.AnyOf)+len(s.OneOf))
	for _, one := range append(slices.Clone(s.AnyOf), s.OneOf...) {
		alternatives = append(alternatives, kind(one))
	}
	switch {
	case len(alternatives) > 0:
		words = append(words, strings.Join(alternatives, " or "))
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			if values[i] = fmt.Sprint(v); v == nil {
				values[i] = "null"
			}
		}
		words = append(words, "`"+strings.Join(values, "` `")+"`")
	case s.Items != nil:
		words = append(words, "list of "+kind(*s.Items))
	default:
		words = append(words, strings.Join(names(s.Type), " or "))
	}
	for _, bound := range []struct {
		sign  string
		value *float64
	}{{"≥", s.Minimum}, {">", s.ExclusiveMinimum}, {"≤", s.Maximum}} {
		if bound.value != nil {
			words = append(words, fmt.Sprintf("%s %g", bound.sign, *bound.value))
		}
	}
	if s.MinItems != nil {
		words = append(words, fmt.Sprintf("at least %d", *s.MinItems))
	}
	if s.MaxItems != nil {
		words = append(words, fmt.Sprintf("at most %d", *s.MaxItems))
	}
	if s.Default.Value != "" {
		words = append(words, "default "+s.Default.Value)
	}
	if len(s.Properties) > 0 {
		var fields []string
		for _, field := range s.Properties {
			fields = append(fields, "`"+field.name+"`")
		}
		words = append(words, "of "+strings.Join(fields, " "))
	}
	return strings.Join(words, ", ")
}

func names(node yaml.Node) (all []string) {
	if node.Kind == yaml.SequenceNode {
		for _, one := range node.Content {
			all = append(all, one.Value)
		}
		return all
	}
	return []string{node.Value}
}

func last(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

func sentence(text string) string {
	if text == "" {
		return ""
	}
	return ". " + text
}

func paragraph(text string) string {
	if text == "" {
		return ""
	}
	return strings.TrimSpace(text) + "\n\n"
}

// line is a text that fits into a cell of a table.
func line(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
