package chat

import "strings"

// toolsName is the variable that a template has the tools in.
const toolsName = "tools"

// TakesTools reports whether a template of this source looks at the tools of a
// conversation that has some. A template finds a variable by its name alone, so
// one that does not spell the name cannot.
func (s Source) TakesTools() bool {
	if s.Tools != "" {
		return names(s.Tools, toolsName)
	}
	return names(s.Text, toolsName)
}

// TakesTools is the source's.
func (t *Template) TakesTools() bool { return t.from.TakesTools() }

// TakesTools is the source's.
func (c *Confined) TakesTools() bool { return c.source.TakesTools() }

// names reports whether a tag of a template's source spells an identifier.
func names(source, identifier string) bool {
	for {
		open := strings.IndexByte(source, '{')
		if open < 0 || open+1 == len(source) {
			return false
		}
		source = source[open+1:]
		switch kind := source[0]; kind {
		case '#':
			end := strings.Index(source, "#}")
			if end < 0 {
				return false
			}
			source = source[end:]
		case '{', '%':
			end := tagEnd(source, kind)
			if spells(source[:end], identifier) {
				return true
			}
			source = source[end:]
		}
	}
}

// spells reports whether a tag has an identifier outside of its strings.
func spells(tag, identifier string) bool {
	for i := 0; i < len(tag); {
		end := i + 1
		switch {
		case tag[i] == '\'' || tag[i] == '"':
			end = stringEnd(tag, i)
		case isIdentifier(tag[i]):
			for end < len(tag) && isIdentifier(tag[end]) {
				end++
			}
			if tag[i:end] == identifier {
				return true
			}
		}
		i = end
	}
	return false
}
