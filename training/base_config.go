package training

import "github.com/peft-serve/peft-serve/models"

// BaseConfig is how a base is read. The tags are read by the command line and by
// recipes.
type BaseConfig struct {
	IgnoreConfigKey []string `help:"Keys of the base's config.json, or of its GGUF metadata, to read as if they were not there." placeholder:"NAME" group:"base"`
	SlidingWindow   *int     `help:"Sliding window of the base's attention, in tokens; 0: none; by default its own." placeholder:"TOKENS" group:"base" is:"amount"`
}

// Options are those to open the base with.
func (c BaseConfig) Options() models.Options {
	return models.Options{IgnoreConfigKeys: c.IgnoreConfigKey, SlidingWindow: c.SlidingWindow}
}
