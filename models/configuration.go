package models

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// configure reads config.json, whose values may come from GGUF metadata: which
// architecture it is of, what the options change in it, and that each of its
// keys is read or known to change nothing.
func (s *Source) configure(raw []byte, o Options) error {
	values := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &values); err != nil {
		return s.wrong("%w", err)
	}
	written := maps.Clone(values)
	for _, key := range o.IgnoreConfigKeys {
		s.warnIgnored(key, leaveOut(values, key))
	}
	if err := s.identify(values); err != nil {
		return err
	}
	a := s.Architecture
	if o.SlidingWindow != nil {
		if err := s.overrideWindow(a, *o.SlidingWindow, values, written); err != nil {
			return err
		}
	}
	var err error
	if s.config, err = json.Marshal(values); err != nil {
		return s.wrong("%w", err)
	}
	if s.written, err = json.Marshal(written); err != nil {
		return s.wrong("%w", err)
	}
	if s.GGUF == nil {
		s.checkKeys(values, jsonKeys(a.config), a.inert)
		s.checkNulls(values, a.config)
	}
	if err := s.err(); err != nil {
		return err
	}
	return a.check(s)
}

// identify finds the architecture: the class named, which has to be of the
// model_type where both are there, or else the model_type's.
func (s *Source) identify(values map[string]json.RawMessage) error {
	var head struct {
		Architectures []string
		ModelType     string
	}
	for key, to := range map[string]any{"architectures": &head.Architectures, "model_type": &head.ModelType} {
		if v, ok := values[key]; ok {
			if err := json.Unmarshal(v, to); err != nil {
				return s.wrong("%s: %w", key, err)
			}
		}
	}
	if len(head.Architectures) == 0 {
		for _, a := range architectures {
			if head.ModelType != "" && a.ModelType == head.ModelType && a.headed == "" {
				s.Architecture, s.class = a, a.Class
				return nil
			}
		}
		if head.ModelType == "" {
			return s.wrong("architectures and model_type are missing: %w", ErrArchitecture)
		}
		return s.wrong("%w: model_type %q (implemented: %v)", ErrArchitecture, head.ModelType, Architectures())
	}
	a, ok := architectures[head.Architectures[0]]
	if !ok {
		return s.wrong("%w: %q (implemented: %v)", ErrArchitecture, head.Architectures[0], Architectures())
	}
	s.Architecture, s.class = a, head.Architectures[0]
	if head.ModelType != "" && head.ModelType != a.ModelType {
		return s.wrong("architectures says %s and model_type %q, which are two models", s.class, head.ModelType)
	}
	return nil
}

// overrideWindow writes another sliding window, 0 for none, into
// configurations.
func (s *Source) overrideWindow(a *Architecture, n int, configs ...map[string]json.RawMessage) error {
	if n < 0 {
		return fmt.Errorf("%w: --sliding-window: %d is below 0", ErrSource, n)
	}
	if a.window == nil && n > 0 {
		return fmt.Errorf("%w: %s: --sliding-window: %s has none", ErrSource, s.Name, s.Architecture)
	}
	for _, values := range configs {
		if a.window != nil {
			a.window(values, n)
		} else {
			delete(values, "sliding_window")
		}
	}
	return nil
}

// warnIgnored says that a key is passed over, or was not there to be.
func (s *Source) warnIgnored(key string, found bool) {
	if found {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s of %s is ignored, as --ignore-config-key says", key, s.Name))
		return
	}
	s.Warnings = append(s.Warnings, fmt.Sprintf("--ignore-config-key: %s has no %s", s.Name, key))
}

// leaveOut deletes a key; "a.b" is the key b of a's object.
func leaveOut(values map[string]json.RawMessage, key string) bool {
	if _, ok := values[key]; ok {
		delete(values, key)
		return true
	}
	outer, inner, nested := strings.Cut(key, ".")
	object := map[string]json.RawMessage{}
	if !nested || json.Unmarshal(values[outer], &object) != nil || object == nil {
		return false
	}
	if !leaveOut(object, inner) {
		return false
	}
	b, err := json.Marshal(object)
	if err == nil {
		values[outer] = b
	}
	return err == nil
}

// checkKeys notes each key that is neither read nor inert, of the architecture or
// of all.
func (s *Source) checkKeys(values map[string]json.RawMessage, read []string, own map[string]inert) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if slices.Contains(read, key) {
			continue
		}
		rule, ok := own[key]
		if !ok {
			rule, ok = inertKeys[key]
		}
		if !ok && !bytes.Equal(values[key], []byte("null")) {
			s.faultUnknown("config.json", key)
		} else if !rule.allows(values[key]) {
			s.faultValue("config.json", key, values[key], rule)
		}
	}
}

// checkNulls notes each null that is not a way to leave a key unset: transformers
// computes with it, or fails of it. Of a configuration's struct it is one where
// the field is a pointer or a list, or is tagged to be.
func (s *Source) checkNulls(values map[string]json.RawMessage, config any) {
	t := reflect.TypeOf(config)
	for i, key := range jsonKeys(config) {
		f := t.Field(i)
		nullable := f.Type.Kind() == reflect.Pointer || f.Type.Kind() == reflect.Slice || f.Tag.Get("null") == "unset"
		if !nullable && string(values[key]) == "null" {
			s.fault("config.json: %s is null: give it a value, or leave it out", key)
		}
	}
}

// faultUnknown notes a key of a file that may change the results.
func (s *Source) faultUnknown(file, key string) {
	s.fault("%s: %s is not known to peft-serve and may change the results; if it does not, start with --ignore-config-key %s, and report it", file, key, key)
}

// faultValue notes a value of which the served model would have to know.
func (s *Source) faultValue(file, key string, value []byte, rule inert) {
	const longest = 60
	if len(value) > longest {
		value = append(value[:longest:longest], "…"...)
	}
	s.fault("%s: %s is %s, which is not implemented (only %s); --ignore-config-key %s leaves it out", file, key, value, rule.why, key)
}

// jsonKeys are the keys that a configuration's struct reads.
func jsonKeys(config any) (keys []string) {
	t := reflect.TypeOf(config)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys = append(keys, name)
	}
	return keys
}

// wrong is a fault of the configuration that ends the reading.
func (s *Source) wrong(format string, a ...any) error {
	return fmt.Errorf("%w: %s: %s: %w", ErrSource, s.Name, s.where(), fmt.Errorf(format, a...))
}

// where the configuration is written.
func (s *Source) where() string {
	if s.GGUF != nil {
		return "metadata"
	}
	return "config.json"
}

// CheckConfig reports what stands against serving or training a base with this
// config.json, of the options that change its reading.
func CheckConfig(name string, config []byte, o Options) error {
	return (&Source{Name: name}).configure(config, o)
}
