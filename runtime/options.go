package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Options are the choices of an Engine. The zero value of a field means its
// default.
type Options struct {
	Slots      int // the most sequences that run at once; 32
	Queue      int // the most requests that wait, loading adapters included; 256
	StepTokens int // the most tokens of one step; long prompts are cut to fit; 512
	// PromptShare is what each prompt may add to the work of a step beside running
	// sequences, as a share of theirs; 0: as much as StepTokens holds.
	PromptShare float64
	Context     int // the longest sequence, in tokens; the model's own

	// CacheBytes is the memory for keys and values, 512 MiB; CacheBlocks, if
	// set, says it in blocks of kernels.BlockLen positions. An encoder has none.
	CacheBytes  int
	CacheBlocks int
	// CacheFormat is what keys and values are stored in, one of kernels.KVFormats; F32.
	CacheFormat kernels.Format
	// NoPrefixCache computes every prompt from its start.
	NoPrefixCache bool

	// Largest tells which of the base's tensors has the value that is largest in
	// magnitude, for the error of a base that computes a value that is not finite.
	// It may read all weights; nil: it is not asked.
	Largest func() (tensor string, value float32)

	Observer Observer     // told what happens; nobody
	Log      *slog.Logger // of panics; slog.Default
}

// ErrOptions reports options that cannot be used; it wraps one error a fault.
var ErrOptions = errors.New("the engine's options are invalid")

// Validate reports every fault of the options.
func (o Options) Validate() error {
	var faults []error
	check := func(name string, v int) {
		if v < 0 {
			faults = append(faults, fmt.Errorf("%s is %d, below 0", name, v))
		}
	}
	check("Slots", o.Slots)
	check("Queue", o.Queue)
	check("StepTokens", o.StepTokens)
	check("Context", o.Context)
	check("CacheBytes", o.CacheBytes)
	check("CacheBlocks", o.CacheBlocks)
	if !(o.PromptShare >= 0 && o.PromptShare <= math.MaxFloat32) {
		faults = append(faults, fmt.Errorf("PromptShare is %v, not from 0 on", o.PromptShare))
	}
	if !slices.Contains(kernels.KVFormats(), o.CacheFormat) {
		faults = append(faults, fmt.Errorf("CacheFormat is %s, which keys and values are not stored in", o.CacheFormat))
	}
	if o.CacheBytes > 0 && o.CacheBlocks > 0 {
		faults = append(faults, errors.New("CacheBytes and CacheBlocks are both set"))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
}

// with returns the options with their defaults for a model of that
// configuration, and the faults that only show against it.
func (o Options) with(c *models.Config) (Options, error) {
	if err := o.Validate(); err != nil {
		return o, err
	}
	if o.Slots == 0 {
		o.Slots = 32
	}
	if o.Queue == 0 {
		o.Queue = 256
	}
	if o.StepTokens == 0 {
		o.StepTokens = 512
	}
	if o.Context == 0 || o.Context > c.Context {
		o.Context = c.Context
	}
	if isEncoder(c) {
		o.CacheBytes, o.CacheBlocks, o.NoPrefixCache = 0, 0, true
		return o.silent(), nil
	}
	block := models.BlockBytes(c, o.CacheFormat)
	if o.CacheBlocks == 0 {
		if o.CacheBytes == 0 {
			o.CacheBytes = 512 << 20
		}
		o.CacheBlocks = o.CacheBytes / block
		if o.CacheBlocks == 0 {
			return o, fmt.Errorf("%w: CacheBytes is %d, one block of %d positions takes %d", ErrOptions, o.CacheBytes, kernels.BlockLen, block)
		}
	}
	o.CacheBytes = o.CacheBlocks * block
	o.Context = min(o.Context, o.CacheBlocks*kernels.BlockLen)
	return o.silent(), nil
}

// silent is the options with somebody to tell what happens.
func (o Options) silent() Options {
	if o.Observer == nil {
		o.Observer = Silent{}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}
