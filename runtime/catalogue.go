package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/peft-serve/peft-serve/models"
)

// Adapter is a loaded version of an adapter.
type Adapter interface {
	models.Adapter
	Digest() string // of its configuration and tensors
	Bytes() int     // memory it takes
	// VirtualTokens is the number of positions that stand before the prompt:
	// the rows of Prefix, or of the Embedding's virtual tokens.
	VirtualTokens() int
	Method() string // "LORA"
	Rank() int      // 0 where the method has none
}

// Source is where a version of an adapter comes from.
type Source struct {
	Name string
	URI  string
	Dir  string // the local folder that the URI's scheme provided
}

// Loader reads an adapter from s.Dir.
type Loader func(ctx context.Context, s Source) (Adapter, error)

// Scheme provides the local folder that a URI names. It may take its time.
type Scheme func(ctx context.Context, uri string) (dir string, err error)

// CatalogueOptions are the choices of a Catalogue. The zero value of a field
// means its default.
type CatalogueOptions struct {
	Dir     string            // adapters are its folders; none
	Bytes   int               // budget of loaded adapters; 1 GiB
	Loads   int               // the most loads at once; 2
	Wait    time.Duration     // how long a loaded adapter waits for room; 30 s
	Retry   time.Duration     // how long a failed load is remembered; 5 s
	Schemes map[string]Scheme // beside "file"

	Observer Observer
}

// State tells how far an adapter is.
type State string

const (
	Known    State = "known" // registered or found, not in memory
	Loading  State = "loading"
	Resident State = "resident"
	Failed   State = "failed"
	Draining State = "draining" // replaced or removed, still used by sequences
)

// Entry describes one version of an adapter in the catalogue.
type Entry struct {
	Name, URI  string
	State      State
	Digest     string // resident and draining ones, as the next three
	Method     string
	Rank       int
	Bytes      int
	Pinned     bool
	References int // requests that hold it
	LastUsed   time.Time
	Err        error // why it failed
}

// Errors of the catalogue, beside ErrUnknownAdapter.
var (
	ErrAdapterName   = errors.New("not a name for an adapter")
	ErrAdapterExists = errors.New("an adapter of that name is registered")
	ErrAdapterSource = errors.New("no adapter can be found there")
	ErrAdapterBudget = errors.New("no room for the adapter")
)

// Catalogue knows adapters by name and holds the loaded ones.
type Catalogue struct{}

// NewCatalogue returns a catalogue that loads by load. Close ends it.
func NewCatalogue(load Loader, o CatalogueOptions) (*Catalogue, error) { panic("not yet") }

// Add registers name for a URI, or the path of a folder. It does not load.
func (c *Catalogue) Add(name, uri string) error { panic("not yet") }

// Replace is Add for a name that may be registered: new requests get the new
// version, running ones keep theirs.
func (c *Catalogue) Replace(name, uri string) error { panic("not yet") }

// Remove forgets name: its version is freed when no request holds it. A
// folder of Options.Dir stays forgotten until it changes or is added.
func (c *Catalogue) Remove(name string) error { panic("not yet") }

// Load brings the adapter into memory and waits for it.
func (c *Catalogue) Load(ctx context.Context, name string) (Entry, error) { panic("not yet") }

// Pin loads the adapter and keeps it in memory until Unpin or Remove.
func (c *Catalogue) Pin(ctx context.Context, name string) error { panic("not yet") }

// Unpin lets the adapter be evicted again.
func (c *Catalogue) Unpin(name string) error { panic("not yet") }

// Lookup describes the adapter that a new request of that name would get.
func (c *Catalogue) Lookup(name string) (Entry, error) { panic("not yet") }

// List describes every adapter, draining versions included, sorted by name.
func (c *Catalogue) List() []Entry { panic("not yet") }

// Bytes is the memory of all loaded versions, draining ones included, and the
// budget.
func (c *Catalogue) Bytes() (used, budget int) { panic("not yet") }

// Close stops loading and watching. Engines that use c have been closed.
func (c *Catalogue) Close() error { panic("not yet") }
