package adapters

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// The keys that PEFT 0.21 writes, with the values that they have where nobody
// has said anything: an absent key means the same to PEFT and to us, and other
// tools look for what PEFT writes.

var anyPEFT = defaultsOf(`{
	"auto_mapping": null, "base_model_name_or_path": null, "inference_mode": true, "modules_to_save": null,
	"peft_version": "0.21.2", "revision": null, "task_type": null}`)

func defaultsOf(object string) []member {
	members, err := parseObject([]byte(object))
	if err != nil {
		panic(err) // a fault of this file
	}
	return members
}

// Complete adds the keys that PEFT writes and the configuration has not.
func (c *Config) Complete() {
	family := methods[c.Type]
	for _, d := range slices.Concat(anyPEFT, defaultsOf(cmp.Or(family.defaults, "{}"))) {
		if c.value(d.key) == nil && (d.key != "peft_version" || !family.ours) {
			c.members = append(c.members, d)
		}
	}
}

// OfPEFT reports whether PEFT has adapters of this type.
func (c *Config) OfPEFT() bool { return !methods[c.Type].ours }

// NameBase sets base_model_name_or_path and revision, null where they are empty.
func (c *Config) NameBase(name, revision string) error {
	c.Base = name
	for key, value := range map[string]string{"base_model_name_or_path": name, "revision": revision} {
		v := any(value)
		if value == "" {
			v = nil
		}
		if err := c.set(key, v); err != nil {
			return err
		}
	}
	return nil
}

// set writes a value, encoded as JSON, under a key.
func (c *Config) set(key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrConfig, key, err)
	}
	c.drop(key)
	c.members = append(c.members, member{key, b})
	return nil
}

func (c *Config) drop(key string) {
	c.members = slices.DeleteFunc(c.members, func(m member) bool { return m.key == key })
}
