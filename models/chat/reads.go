package chat

import (
	"maps"
	"slices"
)

// toolsName is the variable that a template has the tools in.
const toolsName = "tools"

// given are the variables of every rendering, but for the special tokens.
var given = []string{"messages", toolsName, "documents", "add_generation_prompt", "raise_exception", "strftime_now"}

// Given reports whether a template sees something else by that name whatever
// the Variables are: they cannot replace it.
func Given(name string) bool { return slices.Contains(given, name) }

// TakesTools reports whether the template looks at the tools of a conversation
// that has some.
func (t *Template) TakesTools() bool { return slices.Contains(t.tools.Names(), toolsName) }

// TakesDocuments reports whether the template looks at the documents of a
// conversation.
func (t *Template) TakesDocuments() bool {
	return slices.Contains(t.plain.Names(), "documents") || slices.Contains(t.tools.Names(), "documents")
}

// Unread is the first of the variables, by name, that the rendering of a
// conversation would not look at, or "". [Given] ones are looked at.
func (t *Template) Unread(o Options) string {
	read := t.plain.Names()
	if len(o.Tools) > 0 {
		read = t.tools.Names()
	}
	for _, name := range slices.Sorted(maps.Keys(o.Variables)) {
		if !slices.Contains(read, name) && !Given(name) {
			return name
		}
	}
	return ""
}

// Reads reports whether the template looks at what something, such as a turn,
// has by that name.
func (t *Template) Reads(key string) bool {
	return slices.Contains(t.plain.Attributes(), key) || slices.Contains(t.tools.Attributes(), key)
}
