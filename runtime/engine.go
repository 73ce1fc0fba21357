package runtime

import (
	"context"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Decoder turns the tokens of one text into that text as they come:
// tokenizer.Decoder. Push returns whole characters only, Flush the rest.
type Decoder interface {
	Push(token int32) string
	Flush() string
}

// Engine runs sequences over one base model.
type Engine struct{}

// New starts an engine that computes m on pool, which it then has to itself.
// decoder returns a Decoder that continues a text, leaving special tokens out
// if asked to; nil gives events without text. A nil catalogue serves the base
// alone.
func New(m models.Model, decoder func(skipSpecial bool) Decoder, c *Catalogue, pool *kernels.Pool, o Options) (*Engine, error) {
	panic("not yet")
}

// Submit queues a request. It returns at once: ErrPrompt, ErrSampling,
// ErrUnknownAdapter, ErrAdapterName, ErrQueueFull and ErrClosed come from
// here, everything later from the Stream. When ctx ends, so does the sequence.
func (e *Engine) Submit(ctx context.Context, r *Request) (*Stream, error) { panic("not yet") }

// Options are the engine's, defaults filled in: Context is the longest
// sequence it runs.
func (e *Engine) Options() Options { panic("not yet") }

// Snapshot returns the present counts.
func (e *Engine) Snapshot() Snapshot { panic("not yet") }

// Close takes no more requests, lets those accepted finish until ctx ends,
// fails the rest with ErrClosed and returns when the step loop has ended. It
// leaves the catalogue and the pool to their owner.
func (e *Engine) Close(ctx context.Context) error { panic("not yet") }
