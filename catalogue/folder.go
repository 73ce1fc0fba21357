package catalogue

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
)

const (
	configName = "adapter_config.json"
	ggufSuffix = adapters.GGUFSuffix
)

// Holds reports whether a folder holds an adapter, PEFT's configuration or a file of
// llama.cpp's, or is such a file: what [adapters.Open] looks at.
func Holds(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, configName)); err == nil {
		return true
	}
	file, err := adapters.GGUFIn(dir)
	return err != nil || isGGUF(file)
}

// isGGUF reports whether there is a file of llama.cpp's.
func isGGUF(path string) bool {
	if !strings.HasSuffix(path, ggufSuffix) {
		return false
	}
	stat, err := os.Stat(path)
	return err == nil && stat.Mode().IsRegular()
}

// PlaceOf is where the adapter of a name lies in a directory: in its folder or, without
// one, in its file.
func PlaceOf(dir, name string) string {
	folder := filepath.Join(dir, name)
	file := folder + ggufSuffix
	if isGGUF(folder) { // of another name
		return file
	}
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) && isGGUF(file) {
		return file
	}
	return folder
}

// checkName refuses names that are not one: letters, digits and ._-@:+ in
// elements parted by slashes, none of which begins with a dot.
func checkName(name string) error {
	ok := name != "" && len(name) <= 256
	for _, element := range strings.Split(name, "/") {
		ok = ok && element != "" && element[0] != '.'
	}
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@:+/", r))
	}
	if !ok {
		return OfAdapter(name, ErrName)
	}
	return nil
}

// inDir reports whether a folder of the catalogue's directory may have that
// name.
func (c *Catalogue) inDir(name string) bool {
	return c.options.Dir != "" && !strings.ContainsRune(name, '/')
}

// checkSource returns a URI in full: a path becomes absolute.
func (c *Catalogue) checkSource(uri string) (string, error) {
	scheme, path, ok := strings.Cut(uri, "://")
	switch {
	case !ok:
		scheme, path = "file", uri
	case scheme == "file":
		u, err := url.Parse(uri)
		if err != nil || u.Host != "" {
			return "", fmt.Errorf("%w: %q", ErrSource, uri)
		}
		path = u.Path
	}
	if scheme != "file" {
		if c.options.Schemes[scheme] == nil {
			return "", fmt.Errorf("%w: %q: no such scheme", ErrSource, uri)
		}
		return uri, nil
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = stampOf(path)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrSource, err)
	}
	return path, nil
}

// local is the folder of a URI that checkSource returned, if it is one.
func local(uri string) (dir string, ok bool) { return uri, isLocal(uri) }

func isLocal(uri string) bool { return !strings.Contains(uri, "://") }

// resolve finds the record of the version of a name that answers a session, and
// the stamp its folder has now; zero where there is no local folder. A folder of
// the catalogue's directory is found as it appears and forgotten as it vanishes.
// Of a version that is missing there is a record and an error.
func (c *Catalogue) resolve(name, session string) (*record, stamp, error) {
	if err := checkName(name); err != nil {
		return nil, stamp{}, err
	}
	c.mu.Lock()
	r := c.records[name]
	c.mu.Unlock()
	if c.elsewhere(r) {
		return c.registered(r)
	}
	for {
		a, err := c.alias(name)
		if err != nil {
			return nil, stamp{}, OfAdapter(name, err)
		}
		digest, canary := a.choose(session)
		if digest == "" {
			return c.resolvePlain(name)
		}
		if c.isHidden(name, a) {
			return c.builtinOr(Unknown(name), name)
		}
		r, now, err := c.resolveVersion(name, a, digest, canary)
		if !errors.Is(err, errAgain) {
			return r, now, err
		}
	}
}

// resolveBare is resolve where there is no folder of aliases.
func (c *Catalogue) resolveBare(name, session string) (*record, stamp, error) {
	c.mu.Lock()
	_, aliased := c.aliases[name] // until now
	c.mu.Unlock()
	if aliased {
		return c.resolve(name, session)
	}
	if err := checkName(name); err != nil {
		return nil, stamp{}, err
	}
	return c.resolvePlain(name)
}

// resolveQuiet is resolveBare for those names that stand for folders to which nothing has
// happened since they were found: the kernel's notices are taken once for all of them. The
// others are left as they are.
func (c *Catalogue) resolveQuiet(names []string, found []resolved) {
	if !c.listings.notices.take() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, name := range names {
		r := c.records[name]
		_, aliased := c.aliases[name]
		_, hidden := c.hidden[name]
		if r == nil || !r.found || r.digest != "" || aliased || hidden || strings.HasSuffix(r.uri, ggufSuffix) {
			continue
		}
		if now, ok := c.listings.quiet(r.uri); ok {
			found[i] = resolved{r, now}
		}
	}
}

// builtinOr is what resolve returns where nothing else has a name.
func (c *Catalogue) builtinOr(err error, name string) (*record, stamp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.records[name]; r != nil && r.builtin {
		return r, stamp{}, nil
	}
	return nil, stamp{}, err
}

// registered is what resolve returns for what was registered by hand.
func (c *Catalogue) registered(r *record) (*record, stamp, error) {
	var now stamp
	if dir, ok := local(r.uri); ok {
		now, _ = c.listings.stampOf(dir) // what is wrong with it shows when it is loaded
	}
	return r, now, nil
}

// resolvePlain is resolve for what is in the folder of a name.
func (c *Catalogue) resolvePlain(name string) (*record, stamp, error) {
	c.mu.Lock()
	r := c.records[name]
	c.mu.Unlock()
	if r != nil && !r.found && !r.builtin {
		return c.registered(r)
	}
	if !c.inDir(name) {
		if r == nil {
			return nil, stamp{}, Unknown(name)
		}
		return r, stamp{}, nil
	}
	place, now, err := c.atPlace(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if r = c.observe(name, place, now); r == nil {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, now, OfAdapter(name, fmt.Errorf("%w: %w", ErrUnknown, err))
		}
		return nil, now, Unknown(name)
	}
	if r.builtin { // and the folder is none, or hidden
		now = stamp{}
	}
	return r, now, nil
}

// atPlace is where the adapter of a name lies in the catalogue's directory, and the stamp
// of what lies there.
func (c *Catalogue) atPlace(name string) (place string, now stamp, err error) {
	folder := filepath.Join(c.options.Dir, name)
	if now, ok := c.listings.kept(folder); ok && !strings.HasSuffix(name, ggufSuffix) {
		return folder, now, nil // it is there: a file of the name is passed over
	}
	place = PlaceOf(c.options.Dir, name)
	now, err = c.listings.stampOf(place)
	return place, now, err
}

// isHidden reports whether a name was removed whose live version is still there,
// as it was.
func (c *Catalogue) isHidden(name string, a Alias) bool {
	c.mu.Lock()
	before, ok := c.hidden[name]
	c.mu.Unlock()
	if !ok {
		return false
	}
	_, now := c.locate(name, a.Live)
	c.mu.Lock()
	defer c.mu.Unlock()
	if now != before {
		delete(c.hidden, name)
	}
	return now == before
}

// observe takes note of what lies at the place of a name in the catalogue's directory
// now, and returns the record of that name, if there is one; c.mu is held.
func (c *Catalogue) observe(name, place string, now stamp) *record {
	r := c.records[name]
	moved := r != nil && r.found && r.uri != place // a folder has come in the place of a file
	hidden, ok := c.hidden[name]
	switch {
	case r != nil && (!r.found && !r.builtin || r.digest != ""): // registered, or redirected, meanwhile
	case now == stamp{}:
		delete(c.hidden, name)
		if r != nil && r.found {
			c.forget(r)
		}
		return c.records[name]
	case ok && hidden == now:
	case r == nil || r.builtin || moved:
		delete(c.hidden, name)
		folder := &record{name: name, uri: place, found: true}
		if r != nil {
			folder.pinned = r.pinned
			c.forget(r)
		}
		r = folder
		c.records[name] = r
	}
	return r
}

// Rescan looks at the catalogue's directory: what appeared becomes known, what
// vanished is forgotten, and what is pinned and changed is loaded anew.
func (c *Catalogue) Rescan() error {
	files, err := os.ReadDir(c.options.Dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSource, err)
	}
	aliased := c.aliased()
	for name := range aliased {
		c.survey(name)
	}
	type place struct {
		path string
		now  stamp
	}
	places := map[string]place{}
	for _, f := range files {
		name, ok := c.nameOf(f.Name())
		if !ok {
			continue
		}
		at, now, err := c.atPlace(name)
		if err == nil {
			c.note(at, now)
		}
		places[name] = place{at, now}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, r := range c.records {
		if _, ok := places[name]; !ok && r.found && r.digest == "" {
			places[name] = place{path: r.uri}
		}
	}
	for name, p := range places {
		if aliased[name] && c.aliases[name].alias.Live != "" {
			continue
		}
		if r := c.observe(name, p.path, p.now); r != nil && r.found && r.pinned && r.failure.stamp != p.now {
			c.need(r, p.now)
		}
	}
	c.tellClash()
	c.listings.prune()
	return nil
}

// tellClash says in the log that an adapter has come to have Options.Taken for its
// name; c.mu is held.
func (c *Catalogue) tellClash() {
	r := c.records[c.options.Taken]
	if r != nil && !c.clash {
		c.options.Log.Warn("an adapter has the base's name: requests by that name are refused", "name", r.name, "source", r.uri)
	}
	c.clash = r != nil
}

// nameOf is the name of the adapter that a file or folder of the directory may be.
// What begins with a dot is ours, or hidden.
func (c *Catalogue) nameOf(entry string) (name string, ok bool) {
	path := filepath.Join(c.options.Dir, entry)
	name, file := strings.CutSuffix(entry, ggufSuffix)
	if file = file && isGGUF(path); !file {
		name = entry
	}
	switch {
	case strings.HasPrefix(entry, "."):
		return "", false
	case checkName(name) != nil:
		if stat, err := os.Stat(path); file || err == nil && stat.IsDir() {
			c.passedOver("no adapter is looked for", path, fmt.Sprintf("no adapter can be called %q: use letters, digits and ._-@:+", name))
		}
		return "", false
	case file && PlaceOf(c.options.Dir, name) != path:
		c.passedOver("an adapter is not served", path, "there is a folder of its name")
		return "", false
	}
	return name, true
}

func schemeOf(uri string) string {
	scheme, _, _ := strings.Cut(uri, "://")
	return scheme
}

// note is what Options.Inspect told of one state of a folder.
type note struct {
	stamp   stamp
	warning string
}

// note returns what is to be known of the adapter in a folder, which has that
// stamp now, and logs it when it is told first.
func (c *Catalogue) note(dir string, now stamp) (warning string) {
	if c.options.Inspect == nil {
		return ""
	}
	c.mu.Lock()
	known, ok := c.notes[dir]
	c.mu.Unlock()
	if ok && known.stamp == now {
		return known.warning
	}
	warning = c.inspect(dir)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warn(dir, now, warning)
	return warning
}

// warn keeps what is to be known of a folder, and logs what is new; c.mu is
// held.
func (c *Catalogue) warn(dir string, now stamp, warning string) {
	if warning != "" && warning != c.notes[dir].warning {
		c.options.Log.Warn("adapter", "folder", dir, "warning", warning)
	}
	c.notes[dir] = note{now, warning}
}

// warning is what is to be known of l's folder. Where its files will be moved,
// that is kept for where they go.
func (c *Catalogue) warning(l *load) string {
	if l.candidate == nil || l.candidate.Move == nil {
		return c.note(l.dir, l.stamp)
	}
	if c.options.Inspect == nil {
		return ""
	}
	return c.inspect(l.dir)
}

// inspect asks Options.Inspect.
func (c *Catalogue) inspect(dir string) (warning string) {
	var failed error
	defer func() {
		if failed != nil {
			warning = failed.Error()
		}
	}()
	defer c.rescue(&failed, filepath.Base(dir))
	return c.options.Inspect(dir)
}
