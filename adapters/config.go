package adapters

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/peft-serve/peft-serve/models"
)

// What is wrong with an adapter that is refused. Every error of Open and Load
// wraps one of these and names the folder and the key, module or tensor.
var (
	// ErrConfig: adapter_config.json is malformed, or asks for something that
	// is not implemented.
	ErrConfig = errors.New("adapter configuration")
	// ErrMethod: the peft_type is not implemented.
	ErrMethod = errors.New("adapter method is not implemented")
	// ErrTarget: a module that the configuration names is not in the base, or
	// cannot be adapted so.
	ErrTarget = errors.New("adapter target")
	// ErrTensor: a tensor is missing, unexpected, misshapen, of an unusable
	// type or not finite.
	ErrTensor = errors.New("adapter tensor")
	// ErrBase: the adapter belongs to another base, or to one that its
	// initialisation has changed.
	ErrBase = errors.New("adapter does not fit the base")
)

// ConfigFile is the name under which PEFT saves a configuration.
const ConfigFile = "adapter_config.json"

// Config is an adapter's configuration, checked as far as it can be without
// the base model.
type Config struct {
	Type   string // peft_type
	Base   string // base_model_name_or_path, as written
	Task   string // task_type
	Method Method
	// Classes are those that a head of the adapter tells apart, as far as something
	// beside the configuration says so; nil: nothing does.
	Classes *models.Classes

	members []member
}

// Note sets a number that serving does not look at, such as lora_dropout.
func (c *Config) Note(key string, value float64) {
	m := member{key, json.RawMessage(strconv.FormatFloat(value, 'g', -1, 64))}
	if i := slices.IndexFunc(c.members, func(m member) bool { return m.key == key }); i >= 0 {
		c.members[i] = m
		return
	}
	c.members = append(c.members, m)
}

// ParseConfig reads an adapter_config.json.
func ParseConfig(b []byte) (*Config, error) {
	members, err := parseObject(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c := &Config{members: members}
	s := &settings{config: c, left: newPatience()}
	c.Type = s.text("peft_type", "")
	c.Base = s.text("base_model_name_or_path", "")
	c.Task = s.text("task_type", "")
	if err := errors.Join(s.faults...); err != nil {
		return nil, err
	}
	if c.Type == "" {
		return nil, fmt.Errorf("%w: peft_type is missing%s", ErrConfig, c.foreign())
	}
	family, ok := methods[c.Type]
	if !ok {
		return nil, unknownMethod(c.Type)
	}
	if c.Task != "" && !slices.Contains(tasks, c.Task) {
		s.fault(ErrConfig, "task_type is %q, want one of %q", c.Task, tasks)
	}
	c.Method = family.parse(s)
	s.check(family.keys)
	if err := s.all(); err != nil {
		return nil, err
	}
	return c, nil
}

// tasks are the values of task_type that PEFT knows.
var tasks = []string{string(models.Generate), "SEQ_2_SEQ_LM", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"}

// foreign names the system that wrote a configuration without a peft_type.
func (c *Config) foreign() string {
	switch {
	case c.value("lora_parameters") != nil:
		return ": this looks like an adapter of MLX, convert it to PEFT's format"
	case c.value("config") != nil && c.value("model_class") != nil:
		return ": this looks like an adapter of AdapterHub, convert it to PEFT's format"
	}
	return ""
}

// value is the value of key as written, nil where it is absent.
func (c *Config) value(key string) json.RawMessage {
	for _, m := range c.members {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// NewConfig makes a Config from its keys' values, which are encoded as JSON, and
// completes it.
func NewConfig(values map[string]any) (*Config, error) {
	b, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := ParseConfig(b)
	if err != nil {
		return nil, err
	}
	c.Complete()
	return c, nil
}
