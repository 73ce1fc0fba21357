package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// chatTool is a tool's definition, kept as it was written.
type chatTool struct {
	raw        json.RawMessage
	name       string
	field      string          // of its parameters
	parameters json.RawMessage // a schema; nil: it takes none
}

func (t *chatTool) decodeField(path string, raw json.RawMessage) error {
	var shape struct {
		Type     string                     `json:"type"`
		Function map[string]json.RawMessage `json:"function"`
	}
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	name := shape.Function["name"]
	switch {
	case shape.Type != "function":
		return &fieldError{path + ".type", fmt.Sprintf("is %q: only function is implemented", shape.Type)}
	case len(name) == 0:
		return &fieldError{path + ".function.name", "is missing"}
	}
	if err := decodeInto(path+".function.name", name, &t.name); err != nil {
		return err
	}
	if parameters := shape.Function["parameters"]; !absent(parameters) {
		t.parameters = parameters
	}
	t.field = path + ".function.parameters"
	t.raw = append(t.raw, raw...)
	return nil
}

// schema is that of the arguments: an object.
func (t *chatTool) schema() (json.RawMessage, error) {
	switch {
	case t.parameters == nil || compact(t.parameters) == "{}":
		return json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`), nil
	case classOf(t.parameters) != '{':
		return nil, wrongType(t.field, t.parameters, "the schema of an object")
	}
	for name, value := range members(t.parameters) {
		if string(name) != `"type"` {
			continue
		}
		if compact(value) != `"object"` {
			return nil, &fieldError{t.field + ".type", "is " + compact(value) + ": the arguments of a call are an object"}
		}
		return t.parameters, nil
	}
	return slices.Concat([]byte(`{"type":"object",`), bytes.TrimSpace(t.parameters)[1:]), nil
}

// toolChoice is whether tools may be called, or have to be.
type toolChoice struct {
	none, required bool
	name           string   // of the one that has to be called
	allowed        []string // the names of those that may be; nil: all
}

// choiceOfAllowed is the type of a choice among some of the tools.
const choiceOfAllowed = "allowed_tools"

// toolChoices are what may be chosen, in words.
const toolChoices = "auto, none, required, a function or " + choiceOfAllowed

func (t *toolChoice) decodeField(path string, raw json.RawMessage) error {
	switch classOf(raw) {
	case 'n':
		return nil
	case '"':
		var choice string
		if err := decodeInto(path, raw, &choice); err != nil {
			return err
		}
		switch choice {
		case "auto", "none", "required":
			t.none, t.required = choice == "none", choice == "required"
			return nil
		}
		return &fieldError{path, fmt.Sprintf("is %q: give %s", choice, toolChoices)}
	case '{':
		if typeOf(raw) == choiceOfAllowed {
			var shape struct {
				Type    string `json:"type"`
				Allowed struct {
					Mode  string       `json:"mode"`
					Tools []toolByName `json:"tools"`
				} `json:"allowed_tools"`
			}
			if err := decodeInto(path, raw, &shape); err != nil {
				return err
			}
			return t.allow(join(path, choiceOfAllowed), shape.Allowed.Mode, shape.Allowed.Tools)
		}
		var shape struct {
			Type     string `json:"type"`
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		}
		if err := decodeInto(path, raw, &shape); err != nil {
			return err
		}
		if t.name = shape.Function.Name; shape.Type != "function" || t.name == "" {
			return &fieldError{path, "names no function: send auto, none, required or {\"type\":\"function\",\"function\":{\"name\":…}}"}
		}
		return nil
	}
	return wrongType(path, raw, "a string or an object")
}

// typeOf is the member type of an object, or "".
func typeOf(raw json.RawMessage) string {
	var kind struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(raw, &kind) // one that is no string is said where the object is read
	return kind.Type
}

// toolByName is one of the tools, by the name of its function.
type toolByName struct {
	Type     string `json:"type"`
	Function struct {
		Name string `json:"name"`
	} `json:"function"`
}

// allow has only some of the tools be called, and one at least where mode is required.
func (t *toolChoice) allow(path, mode string, tools []toolByName) error {
	switch {
	case mode != "auto" && mode != "required":
		return &fieldError{join(path, "mode"), fmt.Sprintf("is %q: give auto or required", mode)}
	case len(tools) == 0:
		return &fieldError{join(path, "tools"), "names no tool: name at least one, or send none as tool_choice"}
	}
	t.required = mode == "required"
	for i, tool := range tools {
		if tool.Type != "function" || tool.Function.Name == "" {
			return &fieldError{fmt.Sprintf("%s[%d]", join(path, "tools"), i), "names no function"}
		}
		t.allowed = append(t.allowed, tool.Function.Name)
	}
	return nil
}

// forces reports whether the answer has to be calls.
func (t *toolChoice) forces() bool { return t.required || t.name != "" }

// callForm keeps an answer to the calls that tool_choice asks for.
func (r *chatRequest) callForm() (f form, err error) {
	for _, name := range r.ToolChoice.allowed {
		if !slices.ContainsFunc(r.Tools, func(t chatTool) bool { return t.name == name }) {
			return form{}, invalid("tool_choice", "tool_choice allows the function %q, which is none of tools", name)
		}
	}
	switch {
	case !r.ToolChoice.forces():
		return form{}, nil
	case len(r.Tools) == 0:
		return form{}, invalid("tool_choice", "tool_choice wants a tool to be called, and there are no tools: give some")
	case r.ToolChoice.required:
		schema, err := callsSchema(r.tools(), or(r.ParallelTools, true))
		return form{field: "tools", kind: formSchema, text: schema}, err
	}
	for _, t := range r.Tools {
		if t.name == r.ToolChoice.name {
			schema, err := t.schema()
			return form{field: t.field, kind: formSchema, text: string(schema)}, err
		}
	}
	return form{}, invalid("tool_choice", "tool_choice names the function %q, which is none of tools", r.ToolChoice.name)
}

// callsSchema is the schema of one call or, where they may be parallel, of some. Each
// tool's own is one of its definitions.
func callsSchema(tools []chatTool, parallel bool) (string, error) {
	var kinds, own bytes.Buffer
	for i, t := range tools {
		schema, err := t.schema()
		if err != nil {
			return "", err
		}
		if i > 0 {
			kinds.WriteByte(',')
			own.WriteByte(',')
		}
		fmt.Fprintf(&kinds, `{"type":"object","properties":{"name":{"const":%s},"parameters":{"$ref":"#/$defs/t%d"}},"required":["name","parameters"],"additionalProperties":false}`, quoted(t.name), i)
		fmt.Fprintf(&own, `"t%d":`, i)
		writeSchema(&own, unnamed(schema), fmt.Sprintf("#/$defs/t%d", i), false)
	}
	most := ""
	if !parallel {
		most = `"maxItems":1,`
	}
	return fmt.Sprintf(`{"type":"array","minItems":1,%s"items":{"anyOf":[%s]},"$defs":{%s}}`, most, &kinds, &own), nil
}

// unnamed is a schema without the $id of its root, which it is no more when it has been
// moved. References within it lead from the root all the same.
func unnamed(schema json.RawMessage) json.RawMessage {
	out := bytes.NewBufferString("{")
	for name, value := range members(schema) {
		if string(name) == `"$id"` {
			continue
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes()
}

// writeSchema writes a schema that has been moved to root, to which its references
// are to lead then; byName: it is an object that has schemas by names.
func writeSchema(out *bytes.Buffer, schema json.RawMessage, root string, byName bool) {
	more := false
	comma := func() {
		if more {
			out.WriteByte(',')
		}
		more = true
	}
	switch classOf(schema) {
	case '{':
		out.WriteByte('{')
		for name, value := range members(schema) {
			comma()
			out.Write(name)
			out.WriteByte(':')
			keyword := string(name)
			if byName {
				keyword = ""
			}
			switch keyword {
			case `"$ref"`:
				if to, ok := leadsTo(value); ok {
					value = quoted(root + to)
				}
				out.Write(value)
			case `"const"`, `"enum"`, `"default"`, `"examples"`: // values, whatever they look like
				out.Write(value)
			default:
				writeSchema(out, value, root, slices.Contains(schemasByName, keyword))
			}
		}
		out.WriteByte('}')
	case '[':
		out.WriteByte('[')
		for _, value := range elements(schema) {
			comma()
			writeSchema(out, value, root, false)
		}
		out.WriteByte(']')
	default:
		out.Write(schema)
	}
}

// schemasByName are the keywords whose members are named by who wrote the schema.
var schemasByName = []string{`"properties"`, `"patternProperties"`, `"dependentSchemas"`, `"$defs"`, `"definitions"`}

// leadsTo is where a reference leads within its schema, from the root on; false:
// it leads elsewhere, or is none.
func leadsTo(reference json.RawMessage) (pointer string, ok bool) {
	if classOf(reference) != '"' {
		return "", false
	}
	text, ok := decodeString(reference)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(text, "#")
}

// quoted is a text as JSON.
func quoted(text string) []byte {
	b, err := encode(text)
	if err != nil {
		panic(err) // it is a string
	}
	return b
}
