package main

import (
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/peft-serve/peft-serve/internal/spelling"
)

var unknownFlag = regexp.MustCompile(`^unknown flag (-\S+?)(,|$)`)

// parseAll parses arguments; a flag that nobody knows is left out and noted.
func (w *wrongValues) parseAll(parser *kong.Kong, args []string) (*kong.Context, error) {
	args = slices.Clone(args)
	flags := flagsOf(parser.Model, args)
	w.twice(flags, args)
	for {
		selected, err := parser.Parse(args)
		if err == nil {
			return selected, nil
		}
		m := unknownFlag.FindStringSubmatch(err.Error())
		at := -1
		if m != nil {
			at = slices.IndexFunc(args, func(a string) bool { return a == m[1] || strings.HasPrefix(a, m[1]+"=") })
		}
		if at < 0 {
			return nil, err
		}
		w.add("%s: there is no such flag%s", m[1], meant(strings.TrimLeft(m[1], "-"), "--", namesOf(flags)))
		end := at + 1
		if !strings.Contains(args[at], "=") && end < len(args) && !strings.HasPrefix(args[end], "-") {
			end++ // its value
		}
		args = slices.Delete(args, at, end)
	}
}

// flagsOf are the flags of every command and those of the one that the
// arguments begin with.
func flagsOf(app *kong.Application, args []string) []*kong.Flag {
	flags := slices.Clone(app.Flags)
	for _, child := range app.Children {
		if len(args) > 0 && child.Name == args[0] {
			flags = append(flags, child.Flags...)
		}
	}
	return flags
}

func namesOf(flags []*kong.Flag) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range flags {
			if !f.Hidden && !yield(f.Name) {
				return
			}
		}
	}
}

// twice notes flags that are there twice where one of them would win.
func (w *wrongValues) twice(flags []*kong.Flag, args []string) {
	seen := map[string]bool{}
	for _, a := range args {
		name, _, _ := strings.Cut(a, "=")
		if a == "--" {
			return
		}
		for _, f := range flags {
			if name != "--"+f.Name || f.IsCumulative() {
				continue
			}
			if seen[name] {
				w.add("%s: it is there twice: give it once", name)
			}
			seen[name] = true
		}
	}
}

// meant suggests the setting that an unknown one was meant to be.
func meant(name, before string, known iter.Seq[string]) string {
	best := spelling.Setting(name, known)
	if best == "" {
		return ""
	}
	return "; did you mean " + before + best + "?"
}
