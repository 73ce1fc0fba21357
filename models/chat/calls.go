package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// parsedCalls checks the tool_calls of a message, each {"id", "type":
// "function", "function": {"name", "arguments"}}. Where arguments come as a
// string, as the OpenAI API has them, it returns the calls with the object that
// the string holds in its place; else nil.
func parsedCalls(raw json.RawMessage) (json.RawMessage, error) {
	var calls []object
	if err := json.Unmarshal(orNull(raw), &calls); err != nil {
		return nil, errors.New("tool_calls is not a list of calls")
	}
	changed := false
	for _, call := range calls {
		of, err := parseCall(call)
		if err != nil {
			return nil, err
		}
		changed = changed || of
	}
	if !changed {
		return nil, nil
	}
	return json.Marshal(calls)
}

// parseCall puts an object in the place of arguments in a string, and tells
// whether it did.
func parseCall(call object) (changed bool, err error) {
	var (
		id, kind, name string
		function       object
	)
	_ = json.Unmarshal(orNull(call.get("id")), &id) // for errors alone: it may be a number
	if json.Unmarshal(orNull(call.get("type")), &kind) != nil || kind != "" && kind != "function" {
		return false, fmt.Errorf("tool call %q has type %s; only function is supported", id, call.get("type"))
	}
	if json.Unmarshal(orNull(call.get("function")), &function) != nil ||
		json.Unmarshal(orNull(function.get("name")), &name) != nil || name == "" {
		return false, fmt.Errorf("tool call %q names no function", id)
	}
	arguments := function.get("arguments")
	if arguments == nil {
		return false, nil
	}
	if arguments[0] == '"' {
		var text string
		if err := json.Unmarshal(arguments, &text); err != nil {
			return false, err
		}
		if arguments, changed = bytes.TrimSpace([]byte(text)), true; len(arguments) == 0 {
			arguments = []byte("{}")
		}
	}
	if !isObject(arguments) {
		return false, fmt.Errorf("tool call %q: the arguments of %s are not a JSON object", id, name)
	}
	if changed {
		function.set("arguments", arguments)
		of, err := json.Marshal(function)
		if err != nil {
			return false, err
		}
		call.set("function", of)
	}
	return changed, nil
}

func isObject(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && raw[0] == '{' && json.Valid(raw)
}
