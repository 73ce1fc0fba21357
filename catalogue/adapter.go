package catalogue

import (
	"context"
	"errors"
	"fmt"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Adapter is a loaded version of an adapter: adapters.Adapter.
type Adapter interface {
	models.Adapter
	Digest() string // of its configuration and tensors
	// Identity is the digest and, where its factors are held in less than its files
	// have, that precision: what tells its results from those of another.
	Identity() string
	Bytes() int         // memory it takes
	PrefixTokens() int  // positions before the prompt that Prefix fills
	VirtualTokens() int // tokens -1, -2, … that go before the prompt
	// Invocation is the tokens from whose last place in the prompt on the adapter
	// acts; nil: it acts everywhere.
	Invocation() []int32
	SharedLayers() int        // the lowest layers whose keys and values are the base's
	Vocabulary() int          // tokens of its rows; another number than the base's where it was resized
	Classes() *models.Classes // of the head that it brings; nil: it brings none
	Method() string           // "lora"
	Rank() int                // 0 where the method has none
	// Largest is the tensor with the value that is largest in magnitude, for
	// whoever looks for an overflow. It reads all of them.
	Largest() (tensor string, value float32)
	// LoudestToken is the token whose row of the embedding is the largest among
	// those that it brings; -1: it brings none. It too reads them all.
	LoudestToken() int32
	// ChatTemplate is the source of the templates that came with the adapter;
	// zero: none. They are no part of the digest.
	ChatTemplate() chat.Source
	// Tokenizer is the one that came with the adapter; nil: the base's.
	// EndTokens end its answers, beside the base's own. Sampling is what it
	// recommends to sample with. None of them is a part of the digest.
	Tokenizer() *tokenizer.Tokenizer
	EndTokens() []int32
	Sampling() adapters.SamplingDefaults
}

// Source is where a version of an adapter comes from.
type Source struct {
	Name string
	URI  string // a path without a scheme is a folder
	Dir  string // the local folder that the URI's scheme provided
}

// Loader reads an adapter from s.Dir.
type Loader func(ctx context.Context, s Source) (Adapter, error)

// Scheme provides the local folder that a URI names. It may take its time.
type Scheme func(ctx context.Context, uri string) (dir string, err error)

// Errors of the catalogue; test with errors.Is. What a Loader returns comes as
// it is, in an AdapterError.
var (
	ErrUnknown = errors.New("no adapter of that name")
	ErrName    = errors.New("not a name for an adapter")
	ErrExists  = errors.New("an adapter of that name is registered")
	ErrBuiltin = errors.New("the adapter is built in")
	ErrSource  = errors.New("no adapter can be found there")
	ErrBudget  = errors.New("no room for the adapter") // now
	ErrQuota   = errors.New("no room for the adapter among its owner's")
	ErrSize    = errors.New("the adapter is larger than all of the memory for adapters")
	ErrPanic   = errors.New("the server failed inside over the adapter; its log tells where")
	ErrClosed  = errors.New("the catalogue is shutting down")

	// ErrInconclusive is of a probe that says nothing of the adapter.
	ErrInconclusive = errors.New("the probe found the fault elsewhere")
)

// AdapterError is what went wrong with an adapter, or with a request that used
// it.
type AdapterError struct {
	Name string
	Err  error
}

func (e *AdapterError) Error() string { return fmt.Sprintf("adapter %q: %s", e.Name, e.Err) }

func (e *AdapterError) Unwrap() error { return e.Err }

// OfAdapter says, once, which adapter an error is about.
func OfAdapter(name string, err error) error {
	var named *AdapterError
	if errors.As(err, &named) {
		return err
	}
	return &AdapterError{name, err}
}

// Unknown is ErrUnknown of a name.
func Unknown(name string) error { return OfAdapter(name, ErrUnknown) }
