package adapters

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// settings reads the keys of a configuration, each with its default, and
// gathers every fault, so that one look shows all of them.
type settings struct {
	config *Config
	faults []error
	left   *patience
}

func (s *settings) fault(kind error, format string, a ...any) {
	s.faults = append(s.faults, fmt.Errorf("%w: "+format, append([]any{kind}, a...)...))
}

// raw returns the value of key; nil where it is absent or null.
func (s *settings) raw(key string) json.RawMessage {
	if v := s.config.value(key); string(v) != "null" {
		return v
	}
	return nil
}

// read decodes the value of key into v, which holds the default.
func (s *settings) read(key string, v any, want string) {
	raw := s.raw(key)
	if raw == nil {
		return
	}
	if err := json.Unmarshal(raw, v); err != nil {
		s.fault(ErrConfig, "%s is %s, want %s", key, clip(raw), want)
	}
}

func (s *settings) flag(key string, fallback bool) bool {
	v := fallback
	s.read(key, &v, "true or false")
	return v
}

func (s *settings) text(key, fallback string) string {
	v := fallback
	s.read(key, &v, "a string")
	return v
}

// null reports whether key is there and null. Where PEFT computes with the
// value it fails of that.
func (s *settings) null(key string) bool { return string(s.config.value(key)) == "null" }

// number reads a number, which must not be null.
func (s *settings) number(key string, fallback float64) float64 {
	v := fallback
	s.read(key, &v, "a number")
	if s.null(key) {
		s.fault(ErrConfig, "%s is null, want a number", key)
	}
	return v
}

// seed reads an integer of 64 bits, signed or not, as PyTorch takes them.
func (s *settings) seed(key string) uint64 {
	raw := string(s.config.value(key))
	if raw == "" {
		return 0
	}
	if n, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return uint64(n)
	}
	n, err := strconv.ParseUint(raw, 10, 64)
	if err != nil {
		s.fault(ErrConfig, "%s is %s, want an integer of 64 bits", key, clip([]byte(raw)))
	}
	return n
}

// count reads an integer from 1 to 2²⁴, which must not be null.
func (s *settings) count(key string, fallback int) int {
	v := float64(fallback)
	s.read(key, &v, "a count")
	if s.null(key) {
		s.fault(ErrConfig, "%s is null, want a count", key)
	}
	if v != math.Trunc(v) || v < 1 || v > 1<<24 {
		s.fault(ErrConfig, "%s is %v, want a count", key, v)
		return max(fallback, 1)
	}
	return int(v)
}

// maxVector bounds a rank for which memory is taken before a file has shown that
// it has tensors of that size.
const maxVector = 1 << 16

func (s *settings) bounded(key string, v int) {
	if v > maxVector {
		s.fault(ErrConfig, "%s is %d, want at most %d", key, v, maxVector)
	}
}

func (s *settings) integers(key string) []int { return elements[int](s, key, "a list of integers") }

func (s *settings) list(key string) []string { return elements[string](s, key, "a list of strings") }

func elements[T any](s *settings, key, want string) []T {
	raw := s.raw(key)
	if raw == nil {
		return nil
	}
	v, err := listOf[T](raw)
	if err != nil {
		s.fault(ErrConfig, "%s is %s, want %s", key, clip(raw), want)
	}
	return v
}

// listOf decodes a JSON list. A null in it is an error, of which json.Unmarshal
// alone would make a zero.
func listOf[T any](raw json.RawMessage) ([]T, error) {
	var pointers []*T
	if err := json.Unmarshal(raw, &pointers); err != nil {
		return nil, err
	}
	if pointers == nil {
		return nil, errors.New("null is no list")
	}
	list := make([]T, len(pointers))
	for i, p := range pointers {
		if p == nil {
			return nil, fmt.Errorf("element %d is null", i)
		}
		list[i] = *p
	}
	return list, nil
}

// names reads a list of module names or one regular expression.
func (s *settings) names(key string) names {
	raw := s.raw(key)
	if raw == nil {
		return names{}
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		n := names{given: true, expr: one}
		if one != "" && !n.allLinear() {
			re, err := s.left.compileFull(one)
			if err != nil {
				s.fault(ErrConfig, "%s: %w", key, err)
			}
			n.re = re
		}
		return n
	}
	n := names{given: true}
	var err error
	if n.list, err = listOf[string](raw); err != nil {
		s.fault(ErrConfig, "%s is %s, want a list of names or a regular expression", key, clip(raw))
	}
	return n
}

// expressions compiles those of a key, each as compile does.
func (s *settings) expressions(key string, list []string, compile func(string) (expression, error)) (all []expression) {
	for _, one := range list {
		re, err := compile(one)
		if err != nil {
			s.fault(ErrConfig, "%s: %w", key, err)
			continue
		}
		all = append(all, re)
	}
	return all
}

// patterns reads an object of regular expressions and numbers, in its order.
func (s *settings) patterns(key string) patterns {
	raw := s.raw(key)
	if raw == nil {
		return nil
	}
	members, err := parseObject(raw)
	if err != nil {
		s.fault(ErrConfig, "%s: %w", key, err)
		return nil
	}
	if len(members) > maxPatterns {
		s.fault(ErrConfig, "%s has %d entries: at most %d are read", key, len(members), maxPatterns)
		return nil
	}
	var all patterns
	for _, m := range members {
		p := keyed{expr: m.key}
		if m.key == "" {
			s.fault(ErrConfig, "%s has an entry without a name", key)
		}
		if p.re, err = s.left.compileSuffix(m.key); err != nil {
			s.fault(ErrConfig, "%s: %w", key, err)
			continue
		}
		if json.Unmarshal(m.value, &p.value) != nil || !(p.value > 0) || p.value > 1<<24 {
			s.fault(ErrConfig, "%s: %q is %s, want a positive number", key, m.key, clip(m.value))
		}
		all = append(all, p)
	}
	return all
}

// all returns the faults, at most eight of them.
func (s *settings) all() error {
	if len(s.faults) > 8 {
		s.faults = append(slices.Clip(s.faults[:8]), fmt.Errorf("and %d more", len(s.faults)-8))
	}
	return errors.Join(s.faults...)
}

func clip(raw json.RawMessage) string {
	if len(raw) > 60 {
		return string(raw[:57]) + "..."
	}
	return string(raw)
}
