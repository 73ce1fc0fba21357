// Package jinja renders chat templates as transformers renders them: the
// language of Jinja2 3.1 in the environment
//
//	ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
//	    extensions=[AssistantTracker, jinja2.ext.loopcontrols])
//
// with the semantics of the Python 3.11 objects below it: their methods,
// arithmetic, comparison, formatting and printing.
//
// There is an engine of our own because a prompt is what a model sees, no
// library for Go renders the public templates byte for byte, and a template is
// an untrusted program: this one counts what it does as it runs (see Limits) and
// ends at a bound that depends on the template and the conversation alone, never
// on a clock.
//
// The types: a Template is compiled once and rendered by any number of
// goroutines; a Value is what Python calls an object; a Function is a callable
// of the caller's (raise_exception, strftime_now).
//
// What Jinja2 has and this package has not is refused by name and never
// rendered otherwise: other templates (include, import and extends fail as they
// do in an environment without a loader), {% autoescape true %}, what is random
// (lipsum, and random of several items), what prints a memory address, complex
// numbers, sets made of a dictionary's keys, "\N{…}" and lone surrogates. A
// RuntimeError of the kind NotImplementedError, or a SyntaxError, says which.
//
// Jinja2 computes constant expressions as it compiles, which shows in two places
// that are not followed: a constant sliced by something that is no number fails
// here and is undefined there, and a literal beyond the range of a float is an
// infinity here and an error there.
package jinja
