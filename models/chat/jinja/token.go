package jinja

import "fmt"

// A token is a part of a template's source. Its kind is one of the constants
// below or, for an operator, Jinja's name of it: "add", "lparen", ….
type token struct {
	line int
	kind string
	text string // the name, the data or the unescaped string
	num  Value  // of an integer or a float
	err  error  // of a failure
}

const (
	tokenData          = "data"
	tokenBlockBegin    = "block_begin"
	tokenBlockEnd      = "block_end"
	tokenVariableBegin = "variable_begin"
	tokenVariableEnd   = "variable_end"
	tokenName          = "name"
	tokenString        = "string"
	tokenInteger       = "integer"
	tokenFloat         = "float"
	tokenEOF           = "eof"
	// tokenFailure stands where the source cannot be cut into tokens: the
	// parser fails there, unless it fails before.
	tokenFailure = "failure"
)

var operatorNames = map[string]string{
	"+": "add", "-": "sub", "/": "div", "//": "floordiv", "*": "mul", "%": "mod",
	"**": "pow", "~": "tilde", "[": "lbracket", "]": "rbracket", "(": "lparen",
	")": "rparen", "{": "lbrace", "}": "rbrace", "==": "eq", "!=": "ne", ">": "gt",
	">=": "gteq", "<": "lt", "<=": "lteq", "=": "assign", ".": "dot", ":": "colon",
	"|": "pipe", ",": "comma", ";": "semicolon",
}

var kindDescriptions = map[string]string{
	tokenBlockBegin:    "begin of statement block",
	tokenBlockEnd:      "end of statement block",
	tokenVariableBegin: "begin of print statement",
	tokenVariableEnd:   "end of print statement",
	tokenData:          "template data / text",
	tokenEOF:           "end of template",
}

func init() {
	for symbol, name := range operatorNames {
		kindDescriptions[name] = symbol
	}
}

func describeKind(kind string) string {
	if d, ok := kindDescriptions[kind]; ok {
		return d
	}
	return kind
}

func (t token) String() string {
	if t.kind == tokenName {
		return t.text
	}
	return describeKind(t.kind)
}

// isName says whether the token is this word.
func (t token) isName(word string) bool { return t.kind == tokenName && t.text == word }

func failSyntax(line int, format string, args ...any) {
	panic(thrown{&SyntaxError{Line: line, Message: fmt.Sprintf(format, args...)}})
}
