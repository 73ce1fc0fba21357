// Package grammar keeps what a model generates within a language: JSON of a
// schema, a regular expression, one of several texts.
//
// A Grammar is an automaton over bytes with a stack. Each of its rules is a
// deterministic finite automaton whose edges are bytes or calls of rules, so that
// objects nest. The characters of a string that may have only so many are counted
// beside it. A Matcher follows one answer through it, and tells before each token
// which ones may come. What a state says of a whole vocabulary is found out once,
// and kept with the grammar: most tokens are decided by the rule alone, and the few
// that leave it by what is on the stack.
package grammar
