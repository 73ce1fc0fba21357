package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// recipe resolves flags from a YAML file that calls them by the same names.
type recipe struct {
	command string // whose flags they are: one of those that take a recipe; empty: none
	path    string
	values  map[string]any
}

// findRecipe reads the YAML file among the arguments of a command that takes
// one, if there is one.
func findRecipe(args []string) (*recipe, error) {
	r := &recipe{values: map[string]any{}}
	if len(args) == 0 || args[0] != "run" && args[0] != "pretrain" {
		return r, nil
	}
	r.command = args[0]
	for _, a := range args[1:] {
		if !strings.HasPrefix(a, "-") && (strings.HasSuffix(a, ".yaml") || strings.HasSuffix(a, ".yml")) {
			r.path = a
			break
		}
	}
	if r.path == "" {
		return r, nil
	}
	b, err := os.ReadFile(r.path)
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(b, &r.values); err != nil {
		var kinds *yaml.TypeError
		if errors.As(err, &kinds) { // Go's own types are no news to whoever wrote the file
			return nil, fmt.Errorf("%s: want settings by name, each once: %s", r.path, kinds.Errors[0])
		}
		return nil, fmt.Errorf("%s: %w", r.path, err)
	}
	return r, nil
}

var _ kong.Resolver = (*recipe)(nil)

// taken is the fault of a recipe that is named where it cannot be told from a
// value, or under another kind of name.
func (r *recipe) taken(path string) error {
	own := r.path
	if abs, err := filepath.Abs(own); own != "" && err == nil {
		own = abs
	}
	switch {
	case own == path:
		return nil
	case path == "":
		return fmt.Errorf("%s was taken for a recipe: write the flag that it is the value of as --flag=VALUE", r.path)
	case own == "":
		return fmt.Errorf("%s is no recipe: the name of one ends in .yaml or .yml", path)
	}
	return fmt.Errorf("two recipes: %s and %s", r.path, path)
}

// Validate implements kong.Resolver; faults has looked already.
func (r *recipe) Validate(*kong.Application) error { return nil }

// faults lists the keys that are no flags of the command, those that are there in both
// spellings, and those whose value is of another kind than the flag's.
func (r *recipe) faults(app *kong.Application) (lines []string) {
	known := map[string]*kong.Flag{}
	for _, n := range app.Children {
		if n.Name == r.command {
			for _, f := range n.Flags {
				known[f.Name] = f
			}
		}
	}
	for key, v := range r.values {
		name := strings.ReplaceAll(key, "_", "-")
		switch _, twice := r.values[name]; {
		case known[name] == nil:
			lines = append(lines, fmt.Sprintf("%s: %s: no such setting%s", r.path, key, meant(key, "", maps.Keys(known))))
		case twice && name != key:
			lines = append(lines, fmt.Sprintf("%s: %s is there as %s too", r.path, key, name))
		default:
			if fault := misfit(known[name], v); fault != "" {
				lines = append(lines, fmt.Sprintf("--%s: %s", name, fault))
			}
		}
	}
	return lines
}

// misfit says how a value is of another kind than the flag's; empty: it is not.
func misfit(flag *kong.Flag, v any) string {
	var elements []any
	switch v := v.(type) {
	case []any:
		if !flag.IsSlice() {
			return fmt.Sprintf("%v is a list, want one value", v)
		}
		elements = v
	case map[string]any:
		if !flag.IsMap() {
			return fmt.Sprintf("%v is a mapping, want one value or, of several, a list", v)
		}
		if takesJSON(flag) {
			return ""
		}
		elements = slices.Collect(maps.Values(v))
	}
	for _, e := range elements {
		switch e.(type) {
		case nil, []any, map[string]any:
			return fmt.Sprintf("%v is none of its values", e)
		}
	}
	return ""
}

// takesJSON reports whether the values of a mapping are texts, which may be JSON.
func takesJSON(flag *kong.Flag) bool { return flag.Target.Type().Elem().Kind() == reflect.String }

// written is a value as the command line has it: JSON, where it is none of one
// word.
func written(v any) string {
	switch v.(type) {
	case nil, []any, map[string]any:
		if b, err := json.Marshal(v); err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v)
}

// Resolve implements kong.Resolver.
func (r *recipe) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	if parent.Node() == nil || parent.Node().Name != r.command {
		return nil, nil
	}
	v, ok := r.values[flag.Name]
	if !ok {
		v, ok = r.values[strings.ReplaceAll(flag.Name, "-", "_")]
	}
	if !ok || v == nil || misfit(flag, v) != "" {
		return nil, nil
	}
	switch v := v.(type) {
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, strings.ReplaceAll(fmt.Sprint(x), ",", `\,`))
		}
		return strings.Join(parts, ","), nil
	case map[string]any:
		var parts []string
		for key, x := range v {
			parts = append(parts, key+"="+strings.ReplaceAll(written(x), ";", `\;`))
		}
		slices.Sort(parts)
		return strings.Join(parts, ";"), nil
	}
	return fmt.Sprint(v), nil
}
