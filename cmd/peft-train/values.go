package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/peft-serve/peft-serve/training"
)

// wrongValues gathers the faults of single values, so that one look shows all
// of them: a value that cannot be read leaves its setting at zero.
type wrongValues struct{ lines []string }

func (w *wrongValues) add(format string, a ...any) {
	if line := fmt.Sprintf(format, a...); !slices.Contains(w.lines, line) {
		w.lines = append(w.lines, line)
	}
}

func (w *wrongValues) Error() string {
	count := "1 fault"
	if len(w.lines) > 1 {
		count = fmt.Sprintf("%d faults", len(w.lines))
	}
	return count + " in the arguments:\n  " + strings.Join(w.lines, "\n  ") + "\nSee peft-train --help, and --help of each subcommand."
}

// validated is how kong begins the faults that a command's Validate has found.
var validated = regexp.MustCompile(`^(run|pretrain)( <recipe>)?: `)

// with returns the faults of single values and those of err, of which nothing
// is said twice.
func (w *wrongValues) with(err error) error {
	if len(w.lines) == 0 && err == nil {
		return nil
	}
	if err != nil {
		for line := range strings.SplitSeq(validated.ReplaceAllString(err.Error(), ""), "\n") {
			flag, _, _ := strings.Cut(line, ":")
			if !slices.ContainsFunc(w.lines, func(l string) bool { return strings.HasPrefix(l, flag+":") }) {
				w.add("%s", line)
			}
		}
	}
	slices.Sort(w.lines)
	return w
}

// mappers read numbers and sizes, and --resume with or without a folder.
func (w *wrongValues) mappers() []kong.Option {
	return []kong.Option{
		kong.TypeMapper(reflect.TypeFor[int](), reading(w, "a whole number", strconv.Atoi)),
		kong.TypeMapper(reflect.TypeFor[uint64](), reading(w, "a whole number of 0 or more", func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })),
		kong.TypeMapper(reflect.TypeFor[float64](), reading(w, "a number", func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })),
		kong.TypeMapper(reflect.TypeFor[training.Size](), reading(w, "a size, such as 8GB", func(s string) (v training.Size, err error) {
			err = v.UnmarshalText([]byte(s))
			return v, err
		})),
		kong.TypeMapper(reflect.TypeFor[training.Resume](), resumeMapper{}),
		kong.KindMapper(reflect.Bool, switchMapper{w}),
	}
}

// reading is a mapper that notes a fault instead of giving up.
func reading[T any](w *wrongValues, want string, parse func(string) (T, error)) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		token := ctx.Scan.Pop()
		if token.IsEOL() {
			return errors.New("a value is missing") // kong names the flag
		}
		text := strings.TrimSpace(fmt.Sprint(token.Value))
		v, err := parse(text)
		if err != nil {
			w.add("--%s: %q is not %s", ctx.Value.Name, text, want)
			return nil
		}
		target.Set(reflect.ValueOf(v))
		return nil
	})
}

// switchMapper reads --flag, --flag=true and --flag=false.
type switchMapper struct{ w *wrongValues }

// IsBool tells that the flag stands without a value.
func (switchMapper) IsBool() bool { return true }

// Decode implements kong.Mapper.
func (m switchMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	on := true
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		text := strings.ToLower(fmt.Sprint(ctx.Scan.Pop().Value))
		switch text {
		case "true", "yes", "1":
		case "false", "no", "0":
			on = false
		default:
			m.w.add("--%s: %q is neither true nor false", ctx.Value.Name, text)
		}
	}
	target.SetBool(on)
	return nil
}

// resumeMapper reads --resume, --resume=false and --resume=DIR.
type resumeMapper struct{}

// IsBool tells that the flag stands without a value.
func (resumeMapper) IsBool() bool { return true }

// Decode implements kong.Mapper.
func (resumeMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	text := ""
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		text = fmt.Sprint(ctx.Scan.Pop().Value)
	}
	var r training.Resume
	if err := r.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	target.Set(reflect.ValueOf(r))
	return nil
}
