package catalogue

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

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
	Percent    float64   // of the sessions, that it answers as a canary; 0: it is none

	// Of a version in memory, or one that the name's alias names.
	Digest string

	// Of resident and draining versions.
	Adapter Adapter
	Method  string
	Rank    int
	Bytes   int
}

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
	gathering chan struct{}             // full while a combination holds parts and waits for others
	verdicts  *lru.Cache[string, error] // by digest: what a probe or a request found; nil: nothing
	moves     nameLocks                 // of names whose files are being moved
	listings  listings                  // of folders
	aliasing  sync.Mutex                // held while an alias is read and followed

	mu       sync.Mutex
	closed   bool
	records  map[string]*record
	canaries map[string]*record // of which the aliases have some sessions answered
	aliases  map[string]followed
	unread   map[string]bool  // files and folders of which has been said that they are passed over
	clash    bool             // an adapter has Options.Taken for its name
	notes    map[string]note  // by folder
	hidden   map[string]stamp // removed folders of Dir, as they were
	versions residence
	line     []*load // that wait for room, by ticket
	tickets  uint64
}

// record is a name and where its adapter comes from.
type record struct {
	name, uri string
	digest    string  // that it has to have; empty: any
	percent   float64 // of a canary
	found     bool    // a folder of Dir, rather than registered
	builtin   bool    // of Options.Builtin
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
	o = o.withDefaults()
	if o.Dir != "" {
		var err error
		if o.Dir, err = filepath.Abs(o.Dir); err != nil {
			return nil, err
		}
		o.Aliases = cmp.Or(o.Aliases, filepath.Join(o.Dir, AliasesFolder))
	}
	c := &Catalogue{
		loader: load, options: o, slots: make(chan struct{}, o.Loads), downloads: make(chan struct{}, o.Loads), gathering: make(chan struct{}, 1),
		records: map[string]*record{}, canaries: map[string]*record{}, aliases: map[string]followed{}, unread: map[string]bool{}, notes: map[string]note{}, hidden: map[string]stamp{}, verdicts: newVerdicts(),
		listings: listings{notices: newNotices()},
		versions: newResidence(o),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	for name := range o.Builtin {
		c.records[name] = c.builtin(name)
	}
	c.tellClash()
	if o.Dir != "" {
		if err := c.Rescan(); err != nil {
			c.stop()
			c.listings.notices.close()
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
		if !old.found && !old.builtin && !replace {
			return fmt.Errorf("%w: %q", ErrExists, name)
		}
		r.pinned = old.pinned
		c.forget(old)
	}
	if canary := c.canaries[name]; canary != nil && c.elsewhere(r) {
		c.forget(canary)
	}
	delete(c.hidden, name)
	c.records[name] = r
	c.tellClash()
	return nil
}

// Remove forgets name: its version is freed when no lease holds it. A folder of
// the catalogue's directory stays forgotten until it changes or is added. take,
// which may be nil, takes the adapter's files away, or refuses to: then nothing
// is done. No Swap moves files to that name meanwhile; where ctx ends before
// those of one have been moved, nothing is done either. What is built in stays:
// ErrBuiltin.
func (c *Catalogue) Remove(ctx context.Context, name string, take func(Entry) error) error {
	unlock, err := c.moves.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	r, seen, err := c.resolve(name, "")
	if err != nil && r == nil {
		return err
	}
	if r.builtin {
		return fmt.Errorf("%w: %q", ErrBuiltin, name)
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
		if canary := c.canaries[name]; canary != nil {
			c.forget(canary)
		}
		c.forget(r)
		if c.inDir(name) {
			c.hidden[name] = seen
		}
	}
	return nil
}

// forget takes r out of the catalogue; c.mu is held. A built-in adapter that it
// stood before is there again.
func (c *Catalogue) forget(r *record) {
	if c.canaries[r.name] == r {
		delete(c.canaries, r.name)
	}
	if c.records[r.name] == r {
		delete(c.records, r.name)
		if under := c.builtin(r.name); under != nil && !r.builtin {
			c.records[r.name] = under
		}
	}
	c.unpin(r)
	if r.current != nil {
		c.versions.retire(r.current)
		r.current = nil
	}
	c.arrange()
}

// builtin makes the record of a built-in adapter; nil: there is none of that name.
func (c *Catalogue) builtin(name string) *record {
	uri, ok := c.options.Builtin[name]
	if !ok {
		return nil
	}
	return &record{name: name, uri: uri, builtin: true}
}

// Load brings the adapter into memory and waits for it.
func (c *Catalogue) Load(ctx context.Context, name string) (Entry, error) {
	return c.load(ctx, name, "", false)
}

// Pin loads the adapter and keeps it in memory until Unpin or Remove. A pinned
// folder that changes is loaded anew at once.
func (c *Catalogue) Pin(ctx context.Context, name string) error {
	_, err := c.load(ctx, name, "", true)
	return err
}

func (c *Catalogue) load(ctx context.Context, name, session string, pin bool) (Entry, error) {
	l, err := c.Acquire(name, session)
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
		if canary := c.canaries[name]; canary != nil {
			canary.pinned = true
		}
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
		return Unknown(name)
	}
	c.unpin(r)
	if canary := c.canaries[name]; canary != nil {
		c.unpin(canary)
	}
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
	r, seen, err := c.resolve(name, "")
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

// Entries describes every adapter that is known, canaries and draining versions
// included, sorted by name. It reads no files.
func (c *Catalogue) Entries() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Entry, 0, len(c.records)+len(c.canaries))
	for _, part := range []map[string]*record{c.records, c.canaries} {
		for _, r := range part {
			list = append(list, c.entry(r, r.seen()))
		}
	}
	for _, v := range c.versions.all() {
		if v.retired {
			list = append(list, v.entry())
		}
	}
	order := make([]int, len(list)) // entries are large to move about
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &list[i], &list[j]
		if byName := cmp.Compare(a.Name, b.Name); byName != 0 {
			return byName
		}
		return cmp.Or(cmp.Compare(a.Percent, b.Percent), cmp.Compare(b.State, a.State), cmp.Compare(a.Digest, b.Digest))
	})
	sorted := make([]Entry, len(list))
	for to, from := range order {
		sorted[to] = list[from]
	}
	return sorted
}

// Match is a name that has been sought, and whether a version of it is in memory.
type Match struct {
	Name     string
	Resident bool
}

// Match returns the names that new requests may use, as far as is known, and of which
// wanted says so, in their order, each once. It reads no files.
func (c *Catalogue) Match(wanted func(name string) bool) []Match {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Match
	for _, part := range []map[string]*record{c.records, c.canaries} {
		for name, r := range part {
			if wanted(name) {
				all = append(all, Match{name, r.current != nil})
			}
		}
	}
	slices.SortFunc(all, func(a, b Match) int { // of a name with a canary, the version in memory first
		switch byName := cmp.Compare(a.Name, b.Name); {
		case byName != 0 || a.Resident == b.Resident:
			return byName
		case a.Resident:
			return -1
		}
		return 1
	})
	return slices.CompactFunc(all, func(a, b Match) bool { return a.Name == b.Name })
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
	c.listings.notices.close()
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
	e := c.described(r, now)
	if fault := c.aliases[r.name].fault; fault != nil {
		e.Warning = fault.Error()
	}
	return e
}

func (c *Catalogue) described(r *record, now stamp) Entry {
	if v := r.current; v != nil && v.serves(now) {
		return v.entry()
	}
	e := Entry{Name: r.name, URI: r.uri, State: Known, Pinned: r.pinned, Percent: r.percent, Digest: r.digest, Warning: c.notes[r.uri].warning}
	switch {
	case r.loading != nil:
		e.State = Loading
	case r.failure.err != nil && r.failure.stamp == now:
		e.State, e.Err = Failed, r.failure.err
	}
	return e
}
