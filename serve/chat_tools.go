package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// chatTool is a tool's definition, kept as it was written.
type chatTool struct {
	raw        json.RawMessage
	name       string
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
	t.raw = append(t.raw, raw...)
	return nil
}

// schema is that of the tool's arguments.
func (t *chatTool) schema() json.RawMessage {
	if t.parameters == nil {
		return json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)
	}
	return t.parameters
}

// toolChoice is whether tools may be called, or have to be.
type toolChoice struct {
	none, required bool
	name           string // of the one that has to be called
}

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
		return &fieldError{path, fmt.Sprintf("is %q: give auto, none, required or a function", choice)}
	case '{':
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

// forces reports whether the answer has to be calls.
func (t *toolChoice) forces() bool { return t.required || t.name != "" }

// callForm keeps an answer to the calls that tool_choice asks for.
func (r *chatRequest) callForm() (f form, err error) {
	switch {
	case !r.ToolChoice.forces():
		return form{}, nil
	case len(r.Tools) == 0:
		return form{}, invalid("tool_choice", "tool_choice wants a tool to be called, and there are no tools: give some")
	case r.ToolChoice.required:
		schema, err := callsSchema(r.Tools, or(r.ParallelTools, true))
		return form{field: "tools", kind: formSchema, text: schema}, err
	}
	for i, t := range r.Tools {
		if t.name == r.ToolChoice.name {
			return form{field: fmt.Sprintf("tools[%d].function.parameters", i), kind: formSchema, text: string(t.schema())}, nil
		}
	}
	return form{}, invalid("tool_choice", "tool_choice names the function %q, which is none of tools", r.ToolChoice.name)
}

// callsSchema is the schema of one call or, where they may be parallel, of some. The
// definitions of the tools' schemas, to which their references lead, are its own.
func callsSchema(tools []chatTool, parallel bool) (string, error) {
	var kinds, shared bytes.Buffer
	defined := map[string]string{}
	for i, t := range tools {
		schema, err := undefined(t.schema(), func(name string, definition json.RawMessage) error {
			if other, ok := defined[name]; ok {
				if other != compact(definition) {
					return invalid("tools", "tools[%d].function.parameters.$defs defines %s otherwise than another tool: give it another name", i, name)
				}
				return nil
			}
			if defined[name] = compact(definition); shared.Len() > 0 {
				shared.WriteByte(',')
			}
			fmt.Fprintf(&shared, "%s:%s", quoted(name), definition)
			return nil
		})
		if err != nil {
			return "", err
		}
		if i > 0 {
			kinds.WriteByte(',')
		}
		fmt.Fprintf(&kinds, `{"type":"object","properties":{"name":{"const":%s},"parameters":%s},"required":["name","parameters"],"additionalProperties":false}`, quoted(t.name), schema)
	}
	most := ""
	if !parallel {
		most = `"maxItems":1,`
	}
	return fmt.Sprintf(`{"type":"array","minItems":1,%s"items":{"anyOf":[%s]},"$defs":{%s}}`, most, &kinds, &shared), nil
}

// undefined is a schema without its definitions, each of which is given to take.
func undefined(schema json.RawMessage, take func(name string, definition json.RawMessage) error) (json.RawMessage, error) {
	if classOf(schema) != '{' {
		return schema, nil
	}
	rest := []byte("{")
	err := eachMember(schema, func(key string, value json.RawMessage) error {
		if key == "$defs" && classOf(value) == '{' {
			return eachMember(value, take)
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = fmt.Appendf(rest, "%s:%s", quoted(key), value)
		return nil
	})
	return append(rest, '}'), err
}

// quoted is a text as JSON.
func quoted(text string) []byte {
	b, err := encode(text)
	if err != nil {
		panic(err) // it is a string
	}
	return b
}
