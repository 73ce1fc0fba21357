package jinja

import (
	"fmt"
	"runtime"
)

// A SyntaxError says why a template cannot be compiled.
type SyntaxError struct {
	Line    int
	Message string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }

// A RuntimeError is an exception that the template raised as it ran.
type RuntimeError struct {
	Line    int
	Kind    string // Python's class: TypeError, UndefinedError, SecurityError, …; NotImplementedError where only this package refuses
	Message string
}

func (e *RuntimeError) Error() string {
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Kind, e.Message)
}

// A LimitError says which of the Limits a template or a rendering reached.
type LimitError struct {
	What  string // "steps", "bytes produced", "bytes held", "depth"
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the template takes more than %d %s", e.Limit, e.What)
}

// A thrown error travels up as a panic inside this package, and ends in Compile
// or Render.
type thrown struct{ err error }

// raise throws an exception of a class of Python's. The line is filled in where
// it is caught.
func raise(kind, format string, args ...any) {
	panic(thrown{&RuntimeError{Kind: kind, Message: fmt.Sprintf(format, args...)}})
}

// catch, deferred, gives err what was thrown.
func catch(err *error) {
	if p := recover(); p != nil {
		*err = caught(p)
	}
}

// caught is the error of a panic. A fault of this package itself fails one
// rendering as an InternalError and never the process.
func caught(p any) error {
	switch p := p.(type) {
	case thrown:
		return p.err
	case runtime.Error:
		return &RuntimeError{Kind: "InternalError", Message: p.Error()}
	}
	panic(p)
}
