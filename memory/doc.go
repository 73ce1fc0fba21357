// Package memory keeps one account of what a process may take: an Account has a
// Limit, what a container, the machine or its operator allows, and Parts, each
// with what it may come to. What stays for good is held against the limit before
// the process begins to serve; what comes and goes, such as the files of an
// adapter while they are read, takes of the rest and waits, or is refused, where
// there is too little. Should the estimates be wrong, Pressed tells by what the
// system says the process takes, before the kernel ends it.
package memory
