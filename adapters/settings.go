package adapters

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// settings reads the keys of a configuration, each with its default, and
// gathers every fault, so that one look shows all of them.
type settings struct {
	config *Config
	used   map[string]bool
	faults []error
}

func (s *settings) fault(kind error, format string, a ...any) {
	s.faults = append(s.faults, fmt.Errorf("%w: "+format, append([]any{kind}, a...)...))
}

// raw returns the value of key; nil where it is absent or null.
func (s *settings) raw(key string) json.RawMessage {
	s.used[key] = true
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

func (s *settings) number(key string, fallback float64) float64 {
	v := fallback
	s.read(key, &v, "a number")
	return v
}

// count reads an integer from 1 to 2²⁴.
func (s *settings) count(key string, fallback int) int {
	v := float64(fallback)
	s.read(key, &v, "a count")
	if v != math.Trunc(v) || v < 1 || v > 1<<24 {
		s.fault(ErrConfig, "%s is %v, want a count", key, v)
		return max(fallback, 1)
	}
	return int(v)
}

func (s *settings) integers(key string) []int {
	var v []int
	s.read(key, &v, "a list of integers")
	return v
}

func (s *settings) list(key string) []string {
	var v []string
	s.read(key, &v, "a list of strings")
	return v
}

// names reads a list of module names or one regular expression.
func (s *settings) names(key string) names {
	raw := s.raw(key)
	if raw == nil {
		return names{}
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		if one == "" {
			return names{}
		}
		n := names{expr: one}
		if !n.allLinear() {
			re, err := compileFull(one)
			if err != nil {
				s.fault(ErrConfig, "%s: %w", key, err)
			}
			n.re = re
		}
		return n
	}
	n := names{}
	if json.Unmarshal(raw, &n.list) != nil {
		s.fault(ErrConfig, "%s is %s, want a list of names or a regular expression", key, clip(raw))
	}
	return n
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
	var all patterns
	for _, m := range members {
		p := keyed{expr: m.key}
		if p.re, err = compileSuffix(m.key); err != nil {
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

// inert marks keys whose values do not change what a trained adapter computes.
func (s *settings) inert(keys ...string) {
	for _, k := range keys {
		s.used[k] = true
	}
}

// refuse reports key where it asks for something; why may be empty.
func (s *settings) refuse(key, why string) {
	raw := s.raw(key)
	if raw == nil || empty(raw) {
		return
	}
	if why != "" {
		why = ": " + why
	}
	s.fault(ErrConfig, "%s is not implemented%s", key, why)
}

// finish refuses the keys that nobody asked for and that ask for something,
// and returns all faults.
func (s *settings) finish() error {
	for _, m := range s.config.members {
		if !s.used[m.key] && !empty(m.value) {
			s.fault(ErrConfig, "key %q (%s) is not known: it may change what the adapter computes", m.key, clip(m.value))
		}
	}
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
