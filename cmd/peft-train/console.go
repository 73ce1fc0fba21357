package main

import "fmt"

// note writes a line to whoever watches; that nobody can read it is no fault
// of the work.
func (c console) note(format string, a ...any) { _, _ = fmt.Fprintf(c.err, format+"\n", a...) }
