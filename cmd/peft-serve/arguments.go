package main

import (
	"iter"
	"maps"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/peft-serve/peft-serve/internal/spelling"
)

// tidy takes out of a command line what kong would stop at, and notes it, so
// that one fault hides no other: flags that do not exist, and those without a
// value. It notes those that are there twice where one of them would win. A value that begins with a dash is tied to its flag.
func tidy(model *kong.Application, args []string, wrong *faults) []string {
	flags := flagsOf(commandOf(model, args), model)
	var kept []string
	seen := map[string]bool{}
	for i := 0; i < len(args); i++ {
		name, _, tied := strings.Cut(strings.TrimPrefix(args[i], "--"), "=")
		flag, known := flags[name]
		next := ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		if known && strings.HasPrefix(args[i], "--") {
			if seen[name] && !flag.IsCumulative() {
				wrong.add("--%s: it is there twice: give it once", name)
			}
			seen[name] = true
		}
		switch {
		case args[i] == "--":
			return append(kept, args[i:]...)
		case !strings.HasPrefix(args[i], "--"), known && (tied || flag.IsBool()):
			kept = append(kept, args[i])
		case !known:
			wrong.add("--%s: there is no such flag%s", name, meant(name, maps.Keys(flags), asFlag))
			if !tied && !strings.HasPrefix(next, "-") {
				i++ // its value, as it seems
			}
		case next == "" || strings.HasPrefix(next, "--"):
			wrong.unreadable(name, "--"+name, errNoValue)
		default:
			kept = append(kept, args[i]+"="+next)
			i++
		}
	}
	return kept
}

// commandOf is the command that a command line names; by default the first.
func commandOf(model *kong.Application, args []string) *kong.Node {
	all := flagsOf(model.Node, model)
	for _, child := range model.Children {
		for name, f := range flagsOf(child, model) {
			all[name] = f
		}
	}
	for i := 0; i < len(args); i++ {
		for _, child := range model.Children {
			if args[i] == child.Name {
				return child
			}
		}
		if f := all[strings.TrimPrefix(args[i], "--")]; f != nil && !f.IsBool() {
			i++ // its value
		}
	}
	for _, child := range model.Children {
		if child.Name == "serve" {
			return child
		}
	}
	return model.Node
}

// flagsOf are a command's flags and those of every command, by name.
func flagsOf(node *kong.Node, model *kong.Application) map[string]*kong.Flag {
	flags := map[string]*kong.Flag{}
	for _, n := range []*kong.Node{model.Node, node} {
		for _, f := range n.Flags {
			flags[f.Name] = f
		}
	}
	return flags
}

// meant suggests the setting that an unknown one was meant to be, as written
// makes a name of it.
func meant(name string, known iter.Seq[string], written func(string) string) string {
	best := spelling.Setting(name, known)
	if best == "" {
		return ""
	}
	return "; did you mean " + written(best) + "?"
}

// The three ways to write a setting.
func asFlag(name string) string { return "--" + name }
func asKey(name string) string  { return name }
func asVariable(name string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
