package serve

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// A form is what an answer is to be kept to: JSON of a schema, a regular
// expression, or one of some texts.
type form struct {
	field   string // that says so, as the client wrote it
	kind    formKind
	text    string // a schema or a regular expression
	choices []string
}

type formKind byte

const (
	formFree formKind = iota
	formObject
	formSchema
	formRegex
	formChoice
)

// The bounds of what an answer may be kept to; schemas have their own.
const (
	maxRegex   = 16 << 10 // bytes
	maxOptions = 4096     // of a choice
)

// compile makes the grammar of a form.
func (f *form) compile() (*grammar.Grammar, error) {
	g, err := f.grammar()
	var part *grammar.SchemaError
	switch {
	case errors.As(err, &part):
		return nil, invalid(f.field, "%s: %s", f.field, part)
	case err != nil:
		return nil, invalid(f.field, "%s cannot be kept to: %s", f.field, err)
	}
	return g, nil
}

func (f *form) grammar() (*grammar.Grammar, error) {
	switch f.kind {
	case formObject:
		return grammar.JSON()
	case formSchema:
		return grammar.Schema([]byte(f.text))
	case formRegex:
		return grammar.Regex(f.text)
	}
	return grammar.Choice(f.choices)
}

// oneForm is the form that the fields of a request ask for; nil: none. Two that say
// something are refused.
func oneForm(forms ...form) (*form, error) {
	var one *form
	for i := range forms {
		f := &forms[i]
		switch {
		case f.kind == formFree:
		case one == nil:
			one = f
		default:
			return nil, invalid(f.field, "%s and %s both say what the answer is kept to: give one", one.field, f.field)
		}
	}
	return one, nil
}

// setSchema reads a schema, which clients send as an object or as its text.
func (f *form) setSchema(path string, raw json.RawMessage) error {
	f.field, f.kind = path, formSchema
	switch classOf(raw) {
	case '"':
		return decodeInto(path, raw, &f.text)
	case '{', 't', 'f':
		f.text = string(raw)
		return nil
	}
	return wrongType(path, raw, "a JSON schema")
}

func (f *form) setRegex(path string, raw json.RawMessage) error {
	f.field, f.kind = path, formRegex
	if err := decodeInto(path, raw, &f.text); err != nil {
		return err
	}
	if len(f.text) > maxRegex {
		return &fieldError{path, fmt.Sprintf("has %d bytes: give at most %d", len(f.text), maxRegex)}
	}
	return nil
}

func (f *form) setChoice(path string, raw json.RawMessage) error {
	f.field, f.kind = path, formChoice
	if err := decodeInto(path, raw, &f.choices); err != nil {
		return err
	}
	switch {
	case len(f.choices) == 0:
		return &fieldError{path, "is empty: give the texts that the answer may be"}
	case len(f.choices) > maxOptions:
		return &fieldError{path, fmt.Sprintf("has %d texts: give at most %d", len(f.choices), maxOptions)}
	}
	return nil
}

// absent reports whether a field says nothing.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// schemaField is guided_json, and LoRAX's schema.
type schemaField struct{ form }

func (f *schemaField) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	return f.setSchema(path, raw)
}

// regexField is guided_regex.
type regexField struct{ form }

func (f *regexField) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	return f.setRegex(path, raw)
}

// choiceField is guided_choice.
type choiceField struct{ form }

func (f *choiceField) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	return f.setChoice(path, raw)
}

// typedForm is a form whose type says what else it has: response_format as OpenAI,
// llama.cpp, TGI and LoRAX have it, and TGI's grammar.
type typedForm struct{ form }

type formShape struct {
	Type   *string         `json:"type"`
	Named  json.RawMessage `json:"json_schema"`
	Schema json.RawMessage `json:"schema"`
	Value  json.RawMessage `json:"value"`
}

func (f *typedForm) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	var shape formShape
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	if shape.Type == nil {
		return &fieldError{join(path, "type"), "is missing: give json_schema, json_object, json, regex, choice or text"}
	}
	given := map[string]json.RawMessage{"json_schema": shape.Named, "schema": shape.Schema, "value": shape.Value}
	// take is the one of some members that is there; the others have no place.
	take := func(names ...string) (string, json.RawMessage, error) {
		for _, name := range names {
			if value := given[name]; !absent(value) {
				delete(given, name)
				return join(path, name), value, f.none(path, *shape.Type, given)
			}
		}
		return "", nil, f.none(path, *shape.Type, given)
	}
	missing := func(name string) error {
		return &fieldError{join(path, name), fmt.Sprintf("is missing: type %s needs it", *shape.Type)}
	}
	switch *shape.Type {
	case "text":
		return f.none(path, *shape.Type, given)
	case "json_object", "json":
		at, value, err := take("schema", "value")
		switch {
		case err != nil:
			return err
		case value != nil:
			return f.setSchema(at, value)
		case *shape.Type == "json":
			return missing("value")
		}
		f.field, f.kind = path, formObject
		return nil
	case "json_schema":
		at, value, err := take("json_schema", "value")
		switch {
		case err != nil:
			return err
		case value == nil:
			return missing("json_schema")
		}
		return f.setNamed(at, value)
	case "regex":
		at, value, err := take("value")
		switch {
		case err != nil:
			return err
		case value == nil:
			return missing("value")
		}
		return f.setRegex(at, value)
	case "choice":
		at, value, err := take("value")
		switch {
		case err != nil:
			return err
		case value == nil:
			return missing("value")
		}
		return f.setChoice(at, value)
	}
	return &fieldError{join(path, "type"), fmt.Sprintf("is %q: give json_schema, json_object, json, regex, choice or text", *shape.Type)}
}

// none refuses members that a type has no place for.
func (f *typedForm) none(path, kind string, given map[string]json.RawMessage) error {
	for _, name := range []string{"json_schema", "schema", "value"} {
		if !absent(given[name]) {
			return &fieldError{join(path, name), fmt.Sprintf("has no place beside type %s: leave it out", kind)}
		}
	}
	return nil
}

// setNamed reads OpenAI's schema with a name. Answers are kept to it whether it is
// strict or not.
func (f *form) setNamed(path string, raw json.RawMessage) error {
	var named struct {
		Name        *string         `json:"name"`
		Description ignored         `json:"description"`
		Schema      json.RawMessage `json:"schema"`
		Strict      *bool           `json:"strict"`
	}
	if err := decodeInto(path, raw, &named); err != nil {
		return err
	}
	if absent(named.Schema) {
		return &fieldError{join(path, "schema"), "is missing: give the JSON schema"}
	}
	return f.setSchema(join(path, "schema"), named.Schema)
}

// structuredOutputs is vLLM's field of that name.
type structuredOutputs struct{ form }

type structuredShape struct {
	JSON       schemaField   `json:"json"`
	Regex      regexField    `json:"regex"`
	Choice     choiceField   `json:"choice"`
	Object     *bool         `json:"json_object"`
	Grammar    unimplemented `json:"grammar"`
	Structural unimplemented `json:"structural_tag"`
	Fallback   ignored       `json:"disable_fallback"`
	AnySpace   unimplemented `json:"disable_any_whitespace" only:"true"`
	Additional unimplemented `json:"disable_additional_properties" only:"false"`
	Space      unimplemented `json:"whitespace_pattern"`
}

func (f *structuredOutputs) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	var shape structuredShape
	if err := decodeInto(path, raw, &shape); err != nil {
		return err
	}
	object := form{field: join(path, "json_object")}
	if or(shape.Object, false) {
		object.kind = formObject
	}
	one, err := oneForm(shape.JSON.form, shape.Regex.form, shape.Choice.form, object)
	if one != nil {
		f.form = *one
	}
	return err
}
