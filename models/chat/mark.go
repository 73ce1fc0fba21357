package chat

import (
	"encoding/json"
	"slices"
)

// WithMark returns the message with a mark in it, by which a rendering shows
// where it is: at that place of its text, of the last part of it or, where it
// has none or place is nil, after the name of the last function that it calls.
// What has neither is returned as it is, with false.
func (m Message) WithMark(mark string, place func(text string) int) (Message, bool) {
	said := m.inForm(func() forms { return forms{parts: true, strings: true} })
	marked := func(raw json.RawMessage) (json.RawMessage, bool) {
		var text string
		if json.Unmarshal(orNull(raw), &text) != nil || text == "" || place == nil {
			return nil, false
		}
		at := place(text)
		return quoted(text[:at] + mark + text[at:]), true
	}
	if text, ok := marked(said.get("content")); ok {
		said.set("content", text)
	} else if parts, ok := markLast(said.get("content"), "text", marked); ok {
		said.set("content", parts)
	} else if calls, ok := markLast(said.get("tool_calls"), "function", func(raw json.RawMessage) (json.RawMessage, bool) {
		var function object
		var name string
		if json.Unmarshal(orNull(raw), &function) != nil || json.Unmarshal(orNull(function.get("name")), &name) != nil {
			return nil, false
		}
		function.set("name", quoted(name+mark))
		return encoded(function), true
	}); ok {
		said.set("tool_calls", calls)
	} else {
		return m, false
	}
	var read Message
	if err := json.Unmarshal(encoded(said), &read); err != nil {
		return m, false
	}
	return read, true
}

// markLast changes a member of the last of a list of objects.
func markLast(raw json.RawMessage, name string, change func(json.RawMessage) (json.RawMessage, bool)) (json.RawMessage, bool) {
	var list []object
	if json.Unmarshal(orNull(raw), &list) != nil || len(list) == 0 {
		return nil, false
	}
	last := &list[len(list)-1]
	value, ok := change(last.get(name))
	if !ok {
		return nil, false
	}
	last.set(name, value)
	return encoded(list), true
}

// encoded is a value of objects in JSON.
func encoded(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // made of JSON
	}
	return raw
}

// Without returns the message without some of what it has beside its role and
// content.
func (m Message) Without(keys ...string) Message {
	var kept object
	for _, member := range m.said {
		if !slices.Contains(keys, member.name) {
			kept = append(kept, member)
		}
	}
	m.said = kept
	return m
}
