package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// The versions of a name lie in folders by their digests, and its alias says which
// of them is live and which a canary. A name without an alias has one version, in
// the folder of that name.
//
//	DIR/sst2/                     an adapter
//	DIR/.versions/sst2/DIGEST/    a version of it
//	DIR/.aliases/sst2.yaml        its alias
const (
	VersionsFolder = ".versions"
	AliasesFolder  = ".aliases"
	aliasSuffix    = ".yaml"
)

// ErrVersion is a version that the alias names and that is not on the disk, or a
// folder that holds another than it is called by.
var ErrVersion = errors.New("the version is not there")

// VersionFolder is where a version of a name lies in the folder of adapters.
func VersionFolder(dir, name, digest string) string {
	return filepath.Join(dir, VersionsFolder, name, digest)
}

// AliasFile is the alias of a name in the folder of aliases.
func AliasFile(folder, name string) string { return filepath.Join(folder, name+aliasSuffix) }

// ReadAlias reads a file that need not be there.
func ReadAlias(path string) (Alias, error) {
	text, err := regular.Text(path, maxAlias)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Alias{}, nil
	case err != nil:
		return Alias{}, fmt.Errorf("%w: %w", ErrAlias, err)
	}
	a, err := ParseAlias(text)
	if err != nil {
		return Alias{}, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// followed is a name's alias as it was last read.
type followed struct {
	stamp string // of the file; "": there is none
	alias Alias
	fault error // why the file is not followed as it is now: what it said before holds
	never bool  // it has never said anything that could be followed
}

// alias is what holds of the alias of a name now, after a look at its file. A file
// that is broken changes nothing; where it was never whole, nobody gets the
// adapter.
func (c *Catalogue) alias(name string) (Alias, error) {
	if !c.inDir(name) {
		return Alias{}, nil
	}
	path := AliasFile(c.options.Aliases, name)
	c.mu.Lock()
	last := c.aliases[name]
	c.mu.Unlock()
	if last.stamp == fileStamp(path) {
		return last.holds()
	}
	c.aliasing.Lock() // so that what is followed last was read last
	defer c.aliasing.Unlock()
	next := followed{stamp: fileStamp(path)} // before it is read: what is written meanwhile is read again
	c.mu.Lock()
	last = c.aliases[name]
	c.mu.Unlock()
	if last.stamp == next.stamp { // another request has read it
		return last.holds()
	}
	next.alias, next.fault = ReadAlias(path)
	c.mu.Lock()
	defer c.mu.Unlock()
	last = c.aliases[name]
	if next.fault != nil {
		next.alias, next.never = last.alias, last.never || last.stamp == ""
		c.options.Log.Error("an adapter's alias cannot be followed: what it said before holds", "adapter", name, "file", path, "error", next.fault)
	}
	if next.stamp == "" {
		delete(c.aliases, name)
	} else {
		c.aliases[name] = next
	}
	if next.alias != last.alias {
		c.options.Log.Info("alias", "adapter", name, "live", next.alias.Live, "canary", next.alias.Canary, "percent", next.alias.Percent)
	}
	c.redirect(name, next.alias)
	return next.holds()
}

func (f followed) holds() (Alias, error) {
	if f.never {
		return Alias{}, f.fault
	}
	return f.alias, nil
}

// fileStamp tells two states of a file apart; "" is none.
func fileStamp(path string) string {
	state, err := stateOf(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return err.Error()
	}
	return fmt.Sprint(state)
}

// elsewhere reports whether r was registered by hand for another folder than that
// of its name: then an alias is not asked.
func (c *Catalogue) elsewhere(r *record) bool {
	if r == nil || r.found || r.builtin {
		return false
	}
	folder := filepath.Join(c.options.Dir, r.name)
	if r.uri != folder && strings.TrimSuffix(r.uri, ggufSuffix) != folder {
		return true // which takes no look at the disk
	}
	return r.uri != PlaceOf(c.options.Dir, r.name)
}

// stands reports whether a request may get r; c.mu is held.
func (c *Catalogue) stands(r *record) bool { return c.records[r.name] == r || c.canaries[r.name] == r }

// redirect has the name's records be what its alias says: they change their
// parts, and the versions that have none any more drain. A pin stays with the
// name. c.mu is held.
func (c *Catalogue) redirect(name string, a Alias) {
	live, canary := c.records[name], c.canaries[name]
	if c.elsewhere(live) {
		if canary != nil {
			c.forget(canary)
		}
		return
	}
	pinned := live != nil && live.pinned
	take := func(digest string) (taken *record) {
		for _, r := range []**record{&live, &canary} {
			if *r != nil && (*r).digest == digest {
				taken, *r = *r, nil
				break
			}
		}
		return taken
	}
	delete(c.records, name)
	delete(c.canaries, name)
	if next := take(a.Live); next != nil {
		c.records[name], next.percent, next.pinned = next, 0, pinned
	} else if pinned {
		c.records[name] = c.newRecord(name, a.Live, 0, true)
	}
	if a.Canary != "" {
		if next := take(a.Canary); next != nil {
			c.canaries[name], next.percent, next.pinned = next, a.Percent, pinned
		} else if pinned {
			c.canaries[name] = c.newRecord(name, a.Canary, a.Percent, true)
		}
	}
	for _, r := range []*record{live, canary} {
		if r != nil {
			c.forget(r)
		}
	}
	if under := c.builtin(name); under != nil && c.records[name] == nil {
		c.records[name] = under
	}
}

// newRecord is one of a folder of the catalogue's directory.
func (c *Catalogue) newRecord(name, digest string, percent float64, pinned bool) *record {
	dir := PlaceOf(c.options.Dir, name)
	if digest != "" {
		dir = VersionFolder(c.options.Dir, name, digest)
	}
	return &record{name: name, uri: dir, digest: digest, percent: percent, found: true, pinned: pinned}
}

// resolveVersion is resolve for a version that the name's alias says, the canary
// or the live one. Where it is not on the disk there is a record all the same.
func (c *Catalogue) resolveVersion(name string, a Alias, digest string, canary bool) (r *record, now stamp, err error) {
	dir, now := c.locate(name, digest)
	if now == (stamp{}) {
		if !c.hasVersions(name) {
			return c.builtinOr(Unknown(name), name)
		}
		err = OfAdapter(name, fmt.Errorf("%w: its alias names version %s, which is not on the disk", ErrVersion, digest))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aliases[name].alias != a {
		return nil, now, errAgain
	}
	r = c.stand(name, digest, dir, canary)
	switch {
	case err != nil:
		r.failure = failure{err: err}
	case r.failure.stamp == stamp{}: // it was missing
		r.failure = failure{}
	}
	return r, now, err
}

// errAgain is an alias that has changed since it was looked at.
var errAgain = errors.New("the alias has changed")

// stand returns the record of a version in its part, which the alias gives it;
// c.mu is held.
func (c *Catalogue) stand(name, digest, dir string, canary bool) *record {
	part := c.records
	if canary {
		part = c.canaries
	}
	old := part[name]
	if old != nil && old.digest == digest && old.uri == dir {
		return old
	}
	next := c.newRecord(name, digest, 0, false)
	next.uri = dir
	if canary {
		next.percent = c.aliases[name].alias.Percent
		live := c.records[name]
		next.pinned = live != nil && live.pinned
	}
	if old != nil {
		next.pinned = next.pinned || old.pinned
		c.forget(old)
	}
	part[name] = next
	return next
}

// locate finds the folder of a version: its own or, where that is missing, the
// name's, which has to turn out to hold it.
func (c *Catalogue) locate(name, digest string) (dir string, now stamp) {
	if digest == "" {
		dir = PlaceOf(c.options.Dir, name)
		now, _ = c.listings.stampOf(dir)
		return dir, now
	}
	dir = VersionFolder(c.options.Dir, name, digest)
	if now, err := c.listings.stampOf(dir); err == nil {
		return dir, now
	}
	plain := PlaceOf(c.options.Dir, name)
	if now, err := c.listings.stampOf(plain); err == nil {
		return plain, now
	}
	return dir, stamp{}
}

// hasVersions reports whether any version of a name is on the disk.
func (c *Catalogue) hasVersions(name string) bool {
	return len(VersionsOnDisk(c.options.Dir, name)) > 0
}

// VersionsOnDisk are the digests of the versions of a name that lie in folders of
// their own, sorted.
func VersionsOnDisk(dir, name string) (all []string) {
	entries, _ := os.ReadDir(filepath.Join(dir, VersionsFolder, name))
	for _, e := range entries {
		if IsDigest(e.Name()) {
			if Holds(VersionFolder(dir, name, e.Name())) {
				all = append(all, e.Name())
			}
		}
	}
	return all
}

// aliased are the names that have an alias, or had one when it was last read.
func (c *Catalogue) aliased() map[string]bool {
	names := map[string]bool{}
	entries, err := os.ReadDir(c.options.Aliases)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.passedOver("an alias is not read", c.options.Aliases, err.Error())
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), aliasSuffix)
		switch {
		case ok && checkName(name) == nil:
			names[name] = true
		case !e.IsDir() && !strings.HasPrefix(e.Name(), "."):
			c.passedOver("an alias is not read", filepath.Join(c.options.Aliases, e.Name()), "it is no NAME.yaml")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.aliases {
		names[name] = true
	}
	return names
}

// passedOver says once of a file or folder that it is passed over, and why.
func (c *Catalogue) passedOver(what, path, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.unread[path] {
		c.unread[path] = true
		c.options.Log.Warn(what, "file", path, "because", why)
	}
}

// survey makes the records of a name's live version and of its canary, and loads
// what is pinned and not in memory.
func (c *Catalogue) survey(name string) {
	a, err := c.alias(name)
	c.mu.Lock()
	by := c.records[name]
	c.mu.Unlock()
	if err != nil || c.elsewhere(by) || c.isHidden(name, a) {
		return
	}
	look := func(digest string, canary bool) {
		r, now, err := c.resolveVersion(name, a, digest, canary)
		if err != nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.stands(r) && r.pinned && r.failure.stamp != now {
			c.need(r, now)
		}
	}
	if a.Live != "" {
		look(a.Live, false)
	}
	if a.Canary != "" {
		look(a.Canary, true)
	}
}

// Version is a version of a name that is on the disk, or that its alias names.
type Version struct {
	Digest string // empty: not known before it has been read
	Dir    string
	Live   bool
	Entry  Entry // of the live one and the canary
}

// Versions are those of a name, and its alias.
func (c *Catalogue) Versions(name string) ([]Version, Alias, error) {
	r, _, err := c.resolve(name, "")
	if err != nil && r == nil {
		return nil, Alias{}, err
	}
	c.survey(name)
	c.mu.Lock()
	a, live, canary := c.aliases[name].alias, c.records[name], c.canaries[name]
	c.mu.Unlock()
	var of struct{ live, canary Entry }
	for r, e := range map[*record]*Entry{live: &of.live, canary: &of.canary} {
		if r == nil {
			continue
		}
		_, now, _ := c.registered(r)
		c.mu.Lock()
		*e = c.entry(r, now)
		c.mu.Unlock()
	}
	if c.elsewhere(live) || !c.inDir(name) {
		return []Version{{Digest: of.live.Digest, Dir: of.live.URI, Live: true, Entry: of.live}}, Alias{}, nil
	}
	var all []Version
	add := func(digest, dir string) {
		v := Version{Digest: digest, Dir: dir}
		switch {
		case live != nil && live.uri == dir:
			v.Digest, v.Live, v.Entry = of.live.Digest, true, of.live
		case canary != nil && canary.uri == dir:
			v.Digest, v.Entry = of.canary.Digest, of.canary
		}
		all = append(all, v)
	}
	for _, digest := range VersionsOnDisk(c.options.Dir, name) {
		add(digest, VersionFolder(c.options.Dir, name, digest))
	}
	if plain, now := c.locate(name, ""); now != (stamp{}) {
		add("", plain)
	}
	has := func(e Entry) bool {
		for _, v := range all {
			if v.Dir == e.URI {
				return true
			}
		}
		return false
	}
	for _, e := range []Entry{of.live, of.canary} { // those that are missing
		if e.Name != "" && !has(e) {
			all = append(all, Version{Digest: e.Digest, Dir: e.URI, Live: e.Percent == 0, Entry: e})
		}
	}
	return all, a, nil
}

// Redirect runs write, which changes the alias of a name, and follows it. No Move
// and no Remove of the name runs beside it.
func (c *Catalogue) Redirect(ctx context.Context, name string, write func() error) error {
	unlock, err := c.moves.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := write(); err != nil {
		return err
	}
	c.survey(name)
	return nil
}

// Capacity is how many adapters are in memory at once at most, if each takes as
// much as the largest that is there, or was under a name that is known; 0: none
// has been.
func (c *Catalogue) Capacity() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	largest := 0
	for _, part := range []map[string]*record{c.records, c.canaries} {
		for _, r := range part {
			largest = max(largest, r.bytes)
		}
	}
	for _, v := range c.versions.all() {
		largest = max(largest, v.bytes)
	}
	if largest == 0 {
		return 0
	}
	return c.versions.budget / largest
}
