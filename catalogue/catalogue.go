package catalogue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Adapter is a loaded version of an adapter: adapters.Adapter.
type Adapter interface {
	models.Adapter
	Digest() string     // of its configuration and tensors
	Bytes() int         // memory it takes
	PrefixTokens() int  // positions before the prompt that Prefix fills
	VirtualTokens() int // tokens -1, -2, … that go before the prompt
	Vocabulary() int    // tokens of its rows; another number than the base's where it was resized
	Method() string     // "lora"
	Rank() int          // 0 where the method has none
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

// Options are the choices of a Catalogue. The zero value of a field means its
// default.
type Options struct {
	Dir     string            // adapters are its folders; none
	Bytes   int               // budget of loaded adapters; 1 GiB
	Loads   int               // the most adapters read at once, and the most downloads; 2
	Wait    time.Duration     // how long a load waits for room; 30 s
	Retry   time.Duration     // how long a failed load is remembered; 5 s
	Schemes map[string]Scheme // beside "file"

	// Size tells, from the headers of its files, the least memory that the
	// adapter in a folder takes, so that it is not read before there is room
	// for it; 0: it cannot be told. nil: it is not asked.
	Size func(dir string) (bytes int)
	// Inspect tells, of the adapter in a folder, what an operator should know
	// though it loads; empty: nothing. nil: it is not asked. It is asked once of
	// each state of a folder, and what it tells is logged.
	Inspect func(dir string) (warning string)

	Observer Observer     // nobody
	Log      *slog.Logger // of loads that fail; slog.Default
}

// Validate reports every fault of the options.
func (o Options) Validate() error {
	var faults []error
	check := func(name string, negative bool) {
		if negative {
			faults = append(faults, fmt.Errorf("%s is below 0", name))
		}
	}
	check("Bytes", o.Bytes < 0)
	check("Loads", o.Loads < 0)
	check("Wait", o.Wait < 0)
	check("Retry", o.Retry < 0)
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
}

// State tells how far an adapter is.
type State string

const (
	Known    State = "known" // registered or found, not in memory
	Loading  State = "loading"
	Resident State = "resident"
	Failed   State = "failed"
	Draining State = "draining" // replaced or removed, still used by requests
)

// Entry describes one version of an adapter in the catalogue.
type Entry struct {
	Name, URI  string
	State      State
	Pinned     bool
	References int       // leases on it
	LastUsed   time.Time // when a lease was last taken or released
	Err        error     // why it failed
	Warning    string    // what Options.Inspect tells of its folder

	// Of resident and draining versions.
	Adapter Adapter
	Digest  string
	Method  string
	Rank    int
	Bytes   int
}

// ErrOptions reports options that cannot be used; it wraps one error a fault.
var ErrOptions = errors.New("the catalogue's options are invalid")

// Errors of the catalogue; test with errors.Is. What a Loader returns comes as
// it is, in an AdapterError.
var (
	ErrUnknown = errors.New("no adapter of that name")
	ErrName    = errors.New("not a name for an adapter")
	ErrExists  = errors.New("an adapter of that name is registered")
	ErrSource  = errors.New("no adapter can be found there")
	ErrBudget  = errors.New("no room for the adapter") // now
	ErrSize    = errors.New("the adapter is larger than all of the memory for adapters")
	ErrPanic   = errors.New("the adapter failed inside its loader")
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

// Observer is told what the catalogue does, for metrics. It is called from
// loading goroutines, under their locks: it must neither block nor call back.
type Observer interface {
	// Loaded is the end of loading an adapter: how long it was read, or brought
	// here from elsewhere; 0 where it came to neither.
	Loaded(adapter string, d time.Duration, err error)
	// Waited is how long a load waited for room, told only if it did.
	Waited(adapter string, d time.Duration)
	// Evicted is an adapter version freed to make room or because it was
	// replaced or removed.
	Evicted(adapter, digest string, bytes int)
}

// Silent is an Observer that does nothing; embed it to observe a part.
type Silent struct{}

func (Silent) Loaded(string, time.Duration, error) {}
func (Silent) Waited(string, time.Duration)        {}
func (Silent) Evicted(string, string, int)         {}

var _ Observer = Silent{}

// Catalogue knows adapters by name and holds the loaded ones.
//
// A Lease holds the version it was given. When a name is loaded anew, replaced
// or removed, its old version drains: it is freed with the last lease on it.
type Catalogue struct {
	loader  Loader
	options Options
	ctx     context.Context // of loads, until Close
	stop    context.CancelFunc
	work    sync.WaitGroup
	slots   chan struct{} // one for each adapter being read
	watcher *watcher

	downloads chan struct{}             // one for each scheme at work
	verdicts  *lru.Cache[string, error] // by digest: what a probe or a request found; nil: nothing
	moves     nameLocks

	mu       sync.Mutex
	closed   bool
	records  map[string]*record
	notes    map[string]note  // by folder
	hidden   map[string]stamp // removed folders of Dir, as they were
	versions residence
	line     []*load // that wait for room, by ticket
	tickets  uint64
}

// record is a name and where its adapter comes from.
type record struct {
	name, uri string
	found     bool // a folder of Dir, rather than registered
	pinned    bool
	current   *version // nil: not in memory
	loading   *load    // nil: not under way
	failure   failure
	bytes     int   // of the version last in memory
	sized     stamp // of the folder it came from
}

// failure is a load that failed: it is not tried again until some time has
// passed or the folder has changed.
type failure struct {
	err   error
	until time.Time
	stamp stamp
}

// New returns a catalogue that loads by load. Close ends it.
func New(load Loader, o Options) (*Catalogue, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Bytes = cmp.Or(o.Bytes, 1<<30)
	o.Loads = cmp.Or(o.Loads, 2)
	o.Wait = cmp.Or(o.Wait, 30*time.Second)
	o.Retry = cmp.Or(o.Retry, 5*time.Second)
	if o.Observer == nil {
		o.Observer = Silent{}
	}
	o.Log = cmp.Or(o.Log, slog.Default())
	c := &Catalogue{
		loader: load, options: o, slots: make(chan struct{}, o.Loads), downloads: make(chan struct{}, o.Loads),
		records: map[string]*record{}, notes: map[string]note{}, hidden: map[string]stamp{}, verdicts: newVerdicts(),
		versions: newResidence(o.Bytes, o.Observer),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	if o.Dir != "" {
		if err := c.Rescan(); err != nil {
			c.stop()
			return nil, err
		}
		c.watch()
	}
	return c, nil
}

// Add registers name for a URI, or the path of a folder. It does not load. A
// folder of the catalogue's directory may be registered under its own name.
func (c *Catalogue) Add(name, uri string) error { return c.register(name, uri, false) }

// Replace is Add for a name that may be registered: new requests get the new
// version, running ones keep theirs.
func (c *Catalogue) Replace(name, uri string) error { return c.register(name, uri, true) }

func (c *Catalogue) register(name, uri string, replace bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	uri, err := c.checkSource(uri)
	if err != nil {
		return OfAdapter(name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &record{name: name, uri: uri}
	if old := c.records[name]; old != nil {
		if !old.found && !replace {
			return fmt.Errorf("%w: %q", ErrExists, name)
		}
		r.pinned = old.pinned
		c.forget(old)
	}
	delete(c.hidden, name)
	c.records[name] = r
	return nil
}

// Remove forgets name: its version is freed when no lease holds it. A folder of
// the catalogue's directory stays forgotten until it changes or is added. take,
// which may be nil, takes the adapter's files away, or refuses to: then nothing
// is done. No Swap moves files to that name meanwhile.
func (c *Catalogue) Remove(name string, take func(Entry) error) error {
	defer c.moves.lock(name)()
	r, seen, err := c.resolve(name)
	if err != nil {
		return err
	}
	if take != nil {
		c.mu.Lock()
		e := c.entry(r, seen)
		c.mu.Unlock()
		if err := take(e); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.records[name] == r {
		c.forget(r)
		if c.inDir(name) {
			c.hidden[name] = seen
		}
	}
	return nil
}

// forget takes r out of the catalogue; c.mu is held.
func (c *Catalogue) forget(r *record) {
	delete(c.records, r.name)
	c.unpin(r)
	if r.current != nil {
		c.versions.retire(r.current)
		r.current = nil
	}
	c.arrange()
}

// Load brings the adapter into memory and waits for it.
func (c *Catalogue) Load(ctx context.Context, name string) (Entry, error) {
	return c.load(ctx, name, false)
}

// Pin loads the adapter and keeps it in memory until Unpin or Remove. A pinned
// folder that changes is loaded anew at once.
func (c *Catalogue) Pin(ctx context.Context, name string) error {
	_, err := c.load(ctx, name, true)
	return err
}

func (c *Catalogue) load(ctx context.Context, name string, pin bool) (Entry, error) {
	l, err := c.Acquire(name)
	if err != nil {
		return Entry{}, err
	}
	defer l.Release()
	if err := l.Wait(ctx); err != nil {
		return Entry{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if pin {
		l.version.record.pinned = true
		c.arrange()
	}
	return l.version.entry(), nil
}

// Unpin lets the adapter be evicted again.
func (c *Catalogue) Unpin(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.records[name]
	if r == nil {
		return fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	c.unpin(r)
	c.arrange()
	return nil
}

// unpin ends the pin of r, and a load that only the pin wanted; c.mu is held.
func (c *Catalogue) unpin(r *record) {
	r.pinned = false
	if l := r.loading; l != nil && l.unwanted() {
		c.abandon(l)
	}
}

// Lookup describes the adapter that a new request of that name would get.
func (c *Catalogue) Lookup(name string) (Entry, error) {
	r, seen, err := c.resolve(name)
	if err != nil {
		return Entry{}, err
	}
	if dir, ok := local(r.uri); ok {
		c.note(dir, seen)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entry(r, seen), nil
}

// List looks at the catalogue's directory and describes every adapter.
func (c *Catalogue) List() []Entry {
	if c.options.Dir != "" {
		_ = c.Rescan() // a directory that cannot be read shows in requests
	}
	return c.Entries()
}

// Entries describes every adapter that is known, draining versions included,
// sorted by name. It reads no files.
func (c *Catalogue) Entries() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Entry
	for _, r := range c.records {
		list = append(list, c.entry(r, r.seen()))
	}
	for _, v := range c.versions.all() {
		if v.retired {
			list = append(list, v.entry())
		}
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.State, a.State), cmp.Compare(a.Digest, b.Digest))
	})
	return list
}

// Bytes is the memory of all loaded versions, draining ones included, and the
// budget.
func (c *Catalogue) Bytes() (used, budget int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.versions.used, c.versions.budget
}

// closeWait is how long Close waits for loads that have been told to stop.
const closeWait = 3 * time.Second

// Close stops loading and watching. Engines that use c have been closed. A load
// that hangs in a read, which nothing can end, is left behind.
func (c *Catalogue) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	err := c.watcher.close()
	ended := make(chan struct{})
	go func() { c.work.Wait(); close(ended) }()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		c.options.Log.Warn("adapters are still being read: they are not waited for", "after", closeWait)
	}
	return err
}

// seen is the stamp of r's folder when it was last loaded or tried.
func (r *record) seen() stamp {
	if r.current != nil {
		return r.current.stamp
	}
	return r.failure.stamp
}

// entry describes r, whose folder has that stamp now; c.mu is held.
func (c *Catalogue) entry(r *record, now stamp) Entry {
	if v := r.current; v != nil && v.serves(now) {
		return v.entry()
	}
	e := Entry{Name: r.name, URI: r.uri, State: Known, Pinned: r.pinned, Warning: c.notes[r.uri].warning}
	switch {
	case r.loading != nil:
		e.State = Loading
	case r.failure.err != nil && r.failure.stamp == now:
		e.State, e.Err = Failed, r.failure.err
	}
	return e
}
