package speech

import (
	"encoding/hex"
	"encoding/json"
	"strings"
)

// readCall reads an object with a name and arguments, or parameters, as a call.
// Without any it is one of a tool that takes none, if bare ones may be.
func readCall(object string, bare bool) (*Call, bool) {
	var members map[string]json.RawMessage
	var name string
	if json.Unmarshal([]byte(object), &members) != nil || json.Unmarshal(members["name"], &name) != nil || name == "" {
		return nil, false
	}
	arguments, ok := members["arguments"]
	if !ok {
		arguments, ok = members["parameters"]
	}
	switch {
	case !ok && !bare:
		return nil, false
	case !ok, string(arguments) == "null":
		return &Call{Name: name, Arguments: "{}"}, true
	}
	return &Call{Name: name, Arguments: written(arguments)}, true
}

// written are arguments as they were written; of a string that holds an object,
// that object.
func written(arguments json.RawMessage) string {
	var text string
	if json.Unmarshal(arguments, &text) == nil {
		if inner := strings.TrimSpace(text); isObject(inner) {
			return inner
		}
	}
	return string(arguments)
}

// isObject reports whether a text is an object of JSON.
func isObject(text string) bool { return strings.HasPrefix(text, "{") && json.Valid([]byte(text)) }

// longID is the id of a call as OpenAI's are.
func longID(random [16]byte) string { return "call_" + hex.EncodeToString(random[:12]) }
