package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/chat"
)

// A turn is a message of a conversation as OpenAI's API writes it, or as
// ShareGPT does, in from and value.
type turn struct {
	chat.Message
	learn bool // of the assistant's: not taken out by its weight
}

// shareGPT is the column of a conversation in ShareGPT's files.
const shareGPT = "conversations"

var speakers = map[string]string{"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system", "tool": "tool", "observation": "tool"}

// roles are those that the server takes.
var roles = []string{"system", "developer", "user", "assistant", "tool"}

// Keys that a message may have beside what the template sees: whether a turn
// is learnt, as OpenAI's fine-tuning and axolotl spell it, and what says where
// it comes from.
var (
	weights   = []string{"weight", "train", "training"}
	inertKeys = []string{"id", "message_id", "parent_id", "index", "idx", "uuid", "hash", "timestamp", "created_at", "date", "lang", "language", "model", "markdown"}
)

// readKeys lists the keys that are read, or say nothing to a model where the
// template does not look at them, by where they are.
var readKeys = map[string][]string{
	"":           append([]string{"role", "content", "name", "tool_call_id"}, inertKeys...),
	"content":    {"type", "text"},
	"tool_calls": {"id", "type", "index", "function"},
	"function":   {"name", "arguments"},
}

// turns reads the conversation of a record: of one in two parts, the turns of
// the prompt are not learnt.
func (f chatFormat) turns(r *Record) ([]turn, error) {
	if f.Messages != "" {
		return f.list(r, f.Messages)
	}
	prompt, err := f.list(r, f.Columns.Prompt)
	if err != nil {
		return nil, err
	}
	for i := range prompt {
		prompt[i].learn = false
	}
	completion, err := f.list(r, f.Completion)
	return append(prompt, completion...), err
}

// list reads the messages of a column.
func (f chatFormat) list(r *Record, column string) ([]turn, error) {
	raw, err := r.Raw(column)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, r.fault("column %q is no list of messages: %s", column, clip(string(raw)))
	}
	all := make([]turn, len(list))
	for i, raw := range list {
		if all[i], err = f.turn(raw); err != nil {
			return nil, r.fault("column %q: message %d: %w", column, i, err)
		}
	}
	return all, nil
}

// turn reads a message.
func (f chatFormat) turn(raw json.RawMessage) (t turn, err error) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(raw, &keys) != nil || keys == nil {
		return t, fmt.Errorf("it is no object: %s", clip(string(raw)))
	}
	weighted, learn, err := weightOf(keys)
	if err != nil {
		return t, err
	}
	if _, ok := keys["from"]; ok && keys["role"] == nil {
		if raw, err = fromShareGPT(keys); err != nil {
			return t, err
		}
	}
	if err := json.Unmarshal(raw, &t.Message); err != nil {
		return t, err
	}
	t.Message = t.Without(weights...)
	for _, k := range weights {
		delete(keys, k)
	}
	if err := f.unread("", keys); err != nil {
		return t, err
	}
	switch {
	case !slices.Contains(roles, t.Role):
		return t, fmt.Errorf("role %q is none of %s", t.Role, strings.Join(roles, ", "))
	case t.Role != "assistant" && weighted && learn:
		return t, fmt.Errorf("its weight asks for the %s's turn to be learnt: only the assistant's are", t.Role)
	case (t.Role == "user" || t.Role == "assistant") && strings.TrimSpace(t.Content) == "" && !t.HasToolCalls():
		return t, fmt.Errorf("the %s says nothing", t.Role)
	}
	t.learn = t.Role == "assistant" && learn
	return t, nil
}

// unread refuses a key of a message, or of an object in it, that says
// something and that neither this package nor the template reads.
func (f chatFormat) unread(in string, keys map[string]json.RawMessage) error {
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		raw := keys[k]
		known := slices.Contains(readKeys[in], k) || f.Template.Reads(k)
		if !known && !says(raw) {
			continue
		}
		if !known {
			return fmt.Errorf("key %q is read neither here nor by the chat template: what it says would be lost", k)
		}
		if readKeys[k] == nil || in == k {
			continue
		}
		var list []map[string]json.RawMessage
		var one map[string]json.RawMessage
		if json.Unmarshal(raw, &one) == nil {
			list = append(list, one)
		} else if json.Unmarshal(raw, &list) != nil {
			continue // a text
		}
		for _, object := range list {
			if err := f.unread(k, object); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		}
	}
	return nil
}

// weightOf tells whether a message is to be learnt; weighted: whether it says so.
func weightOf(keys map[string]json.RawMessage) (weighted, learn bool, err error) {
	learn = true
	for _, k := range weights {
		v := string(keys[k])
		switch {
		case v == "" || v == "null":
			continue
		case k == "weight" && (v == "0" || v == "0.0" || v == "1" || v == "1.0"):
			learn = learn && v[0] == '1'
		case k != "weight" && (v == "true" || v == "false"):
			learn = learn && v == "true"
		case k == "weight":
			return false, false, fmt.Errorf("weight is %s, want 0 or 1", clip(v))
		default:
			return false, false, fmt.Errorf("%s is %s, want true or false", k, clip(v))
		}
		weighted = true
	}
	return weighted, learn, nil
}

// fromShareGPT gives a message in ShareGPT's form the keys of OpenAI's API.
func fromShareGPT(keys map[string]json.RawMessage) (json.RawMessage, error) {
	var from, value string
	if json.Unmarshal(keys["from"], &from) != nil {
		return nil, fmt.Errorf("from is %s, want a name", clip(string(keys["from"])))
	}
	role, ok := speakers[from]
	if !ok {
		return nil, fmt.Errorf("it is from %q, not from %s", from, strings.Join(slices.Sorted(maps.Keys(speakers)), ", "))
	}
	if keys["value"] == nil {
		return nil, errors.New("value is missing")
	}
	if json.Unmarshal(keys["value"], &value) != nil {
		return nil, fmt.Errorf("value is no text: %s", clip(string(keys["value"])))
	}
	named, err := json.Marshal(role)
	if err != nil {
		return nil, err
	}
	keys["role"], keys["content"] = named, keys["value"]
	delete(keys, "from")
	delete(keys, "value")
	return json.Marshal(keys)
}
