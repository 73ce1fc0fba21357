package main

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	bytesize "github.com/peft-serve/peft-serve/serve/size"
)

// size is a number of bytes, written "512MiB", "2GB" or plainly.
type size int64

// share is a part of a whole, from 0 to 1; off: not even what is always taken.
type share float64

// shareOff is the share "off".
const shareOff share = -1

func setShare(text string, v reflect.Value) error {
	if text = strings.TrimSpace(text); text == "off" {
		v.SetFloat(float64(shareOff))
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is neither a share, from 0 to 1, nor off", text)
	}
	v.SetFloat(f)
	return nil
}

// switched is a boolean setting.
type switched bool

func (s size) String() string { return bytesText(int64(s)) }

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes {
			return strings.TrimSuffix(strconv.FormatFloat(float64(n)/float64(u.bytes), 'f', 1, 64), ".0") + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

func setSize(text string, v reflect.Value) error {
	n, err := bytesize.Parse(text)
	v.SetInt(n)
	return err
}

func setInt(text string, v reflect.Value) error {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("%q is not a whole number", text)
	}
	v.SetInt(int64(n))
	return nil
}

func setDuration(text string, v reflect.Value) error {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write 30s or 5m", text)
	}
	v.SetInt(int64(d))
	return nil
}

func setSwitch(text string, v reflect.Value) error {
	b, err := strconv.ParseBool(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", text)
	}
	v.SetBool(b)
	return nil
}

func setText(text string, v reflect.Value) error {
	v.SetString(text)
	return nil
}

func addStrings(text string, v reflect.Value) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			v.Set(reflect.Append(v, reflect.ValueOf(part)))
		}
	}
	return nil
}

// mapper reads a flag by set and notes what is wrong with it instead of
// stopping there.
func (s *settingSources) mapper(set func(text string, v reflect.Value) error) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		token, err := ctx.Scan.PopValue("value")
		if err != nil {
			return err
		}
		s.take(ctx.Value, token, set, target)
		return nil
	})
}

func (s *settingSources) take(flag *kong.Value, token kong.Token, set func(string, reflect.Value) error, target reflect.Value) {
	where := "--" + flag.Name
	value, typed := token.Value, token.Type == kong.FlagValueToken
	if origin := s.origin[flag.Name]; typed && origin != "" && fmt.Sprint(value) == fmt.Sprint(s.merged.Get(flag.Name)) {
		where = origin
	}
	items := []any{value}
	if list, ok := value.([]any); ok {
		if target.Kind() != reflect.Slice {
			s.faults.unreadable(flag.Name, where, errors.New("takes one value, not a list"))
			return
		}
		items = list
	}
	for _, item := range items {
		switch item.(type) {
		case map[string]any, []any, nil:
			s.faults.unreadable(flag.Name, where, errors.New("takes a plain value"))
			return
		}
		if err := set(fmt.Sprint(item), target); err != nil {
			s.faults.unreadable(flag.Name, where, err)
		}
	}
}

// switchMapper reads a flag that needs no value.
type switchMapper struct{ sources *settingSources }

func (switchMapper) IsBool() bool { return true }

func (m switchMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		target.SetBool(true)
		return nil
	}
	m.sources.take(ctx.Value, ctx.Scan.Pop(), setSwitch, target)
	return nil
}
