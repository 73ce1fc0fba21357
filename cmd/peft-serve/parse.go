package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

var errNoValue = errors.New("its value is missing")

// exitError ends the command without a message, as after --help.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

// faults are everything that is wrong with a configuration.
type faults struct {
	lines  []string
	broken []string // settings whose value could not be read: no more is said of them
}

// add notes a fault. One that begins with a setting is left out where the
// setting's value could not be read at all.
func (f *faults) add(format string, args ...any) {
	fault := fmt.Sprintf(format, args...)
	if name, _, ok := strings.Cut(strings.TrimPrefix(fault, "--"), ":"); ok && slices.Contains(f.broken, name) {
		return
	}
	if !slices.Contains(f.lines, fault) {
		f.lines = append(f.lines, fault)
	}
}

// unreadable notes a value that is not of its setting's type.
func (f *faults) unreadable(setting, where string, err error) {
	f.lines = append(f.lines, fmt.Sprintf("%s: %s", where, err))
	f.broken = append(f.broken, setting)
}

func (f *faults) Error() string {
	slices.Sort(f.lines)
	count := "1 fault"
	if len(f.lines) > 1 {
		count = fmt.Sprintf("%d faults", len(f.lines))
	}
	return "peft-serve: " + count + " in the configuration:\n  " + strings.Join(f.lines, "\n  ") +
		"\nEvery setting is a flag, a variable and a key of the --config file: see peft-serve --help."
}

// groups are the sections of --help.
var groups = []kong.Group{
	{Key: "base", Title: "Base model"},
	{Key: "adapters", Title: "Adapters"},
	{Key: "engine", Title: "Engine"},
	{Key: "http", Title: "HTTP"},
	{Key: "logging", Title: "Logging and configuration"},
	{Key: "batch", Title: "Requests and answers"},
	{Key: "load", Title: "Load"},
	{Key: "sustained", Title: "A load that lasts"},
	{Key: "text", Title: "A text"},
	{Key: "output", Title: "Output"},
}

// parse reads arguments, variables and the configuration file, and reports all
// that is wrong with them at once.
func parse(args []string, c console) (command, error) {
	var (
		all   commands
		wrong faults
		exit  *exitError
	)
	sources := &settingSources{faults: &wrong}
	parser, err := kong.New(&all,
		kong.Name("peft-serve"),
		kong.Description("Serve one frozen base model with many adapters, a different one for every row of a batch."),
		kong.Writers(c.out, c.err),
		kong.ExplicitGroups(groups),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.ValueFormatter(describe),
		kong.Help(printHelp),
		kong.Exit(func(code int) { exit = &exitError{code}; panic(exit) }),
		kong.TypeMapper(reflect.TypeFor[string](), sources.mapper(setText)),
		kong.TypeMapper(reflect.TypeFor[int](), sources.mapper(setInt)),
		kong.TypeMapper(reflect.TypeFor[size](), sources.mapper(setSize)),
		kong.TypeMapper(reflect.TypeFor[share](), sources.mapper(setShare)),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), sources.mapper(setDuration)),
		kong.TypeMapper(reflect.TypeFor[[]string](), sources.mapper(addStrings)),
		kong.TypeMapper(reflect.TypeFor[switched](), switchMapper{sources}),
		kong.Resolvers(sources),
		kong.Vars{"version": "peft-serve " + version},
	)
	if err != nil {
		return nil, err
	}
	args = tidy(parser.Model, args, &wrong)
	sources.load(parser.Model, args, c.env)
	selected, err := parseArguments(parser, args)
	switch {
	case exit != nil:
		return nil, exit
	case err != nil:
		wrong.add("%s", err)
	}
	run, _ := selectedCommand(selected, &all)
	all.Bench.given = givenFlags(selected)
	all.Serve.values = valuesOf(parser.Model)
	if !showsKey(args) {
		all.Serve.keysFrom = sources.origin["api-key"]
	}
	if checked, ok := run.(interface{ validate(*faults) }); ok && err == nil {
		checked.validate(&wrong)
	}
	if len(wrong.lines) > 0 {
		return nil, &wrong
	}
	return run, nil
}

// parseArguments is kong's Parse, which leaves --help by a panic of ours.
func parseArguments(parser *kong.Kong, args []string) (ctx *kong.Context, err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(*exitError); !ok {
				panic(p)
			}
		}
	}()
	return parser.Parse(args)
}

// valuesOf are the settings of serve as they have been read, by name.
func valuesOf(model *kong.Application) map[string]any {
	values := map[string]any{}
	for _, child := range model.Children {
		if child.Name == "serve" {
			for _, f := range child.Flags {
				values[f.Name] = f.Target.Interface()
			}
		}
	}
	return values
}

// givenFlags are those of the command line.
func givenFlags(ctx *kong.Context) map[string]bool {
	given := map[string]bool{}
	if ctx == nil {
		return given
	}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			given[p.Flag.Name] = true
		}
	}
	return given
}

func selectedCommand(ctx *kong.Context, all *commands) (command, bool) {
	if ctx == nil || ctx.Selected() == nil {
		return &all.Serve, false
	}
	switch ctx.Selected().Name {
	case "batch":
		return &all.Batch, true
	case "pull":
		return &all.Pull, true
	case "bench":
		return &all.Bench, true
	case "hash-key":
		return all.HashKey, true
	case "version":
		return all.Version, true
	}
	return &all.Serve, true
}
