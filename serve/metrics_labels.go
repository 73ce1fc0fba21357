package serve

import (
	"slices"
	"sync"

	"github.com/peft-serve/peft-serve/catalogue"
)

// The most adapter versions with series of their own, and how many of them may
// be combinations, of which anybody may name new ones without end.
const (
	maxLabelled = 256
	maxCombined = 64
)

// otherAdapters is the label of all others; it is no adapter's name.
const otherAdapters = "(other)"

// adapterLabels bounds the label values of metrics by adapter.
type adapterLabels struct {
	mu       sync.Mutex
	known    map[adapterVersion][]string // the adapters that it is of: one, or a combination's
	combined int                         // of the known ones
	forget   func(adapter, digest string)
}

type adapterVersion struct{ name, digest string }

// combines reports whether v, which is of those adapters, is a combination.
func (v adapterVersion) combines(adapters []string) bool {
	return len(adapters) != 1 || adapters[0] != v.name
}

func newAdapterLabels(forget func(adapter, digest string)) *adapterLabels {
	return &adapterLabels{known: map[adapterVersion][]string{}, forget: forget}
}

// of returns the label values for a version of those adapters: its own while
// there is room.
func (l *adapterLabels) of(name, digest string, adapters []string) (adapter, version string) {
	if name == "" {
		return "", ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v := adapterVersion{name, digest}
	if _, ok := l.known[v]; !ok {
		combines := v.combines(adapters)
		if len(l.known) >= maxLabelled || combines && l.combined >= maxCombined {
			return otherAdapters, ""
		}
		l.known[v] = adapters
		if combines {
			l.combined++
		}
	}
	return name, digest
}

// prune forgets the versions of adapters that the catalogue no longer has, once
// no room is left.
func (l *adapterLabels) prune(entries []catalogue.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) < maxLabelled && l.combined < maxCombined {
		return
	}
	present := map[string]bool{}
	for _, e := range entries {
		present[e.Name] = true
	}
	for v, adapters := range l.known {
		if !slices.ContainsFunc(adapters, func(name string) bool { return !present[name] }) {
			continue
		}
		delete(l.known, v)
		l.forget(v.name, v.digest)
		if v.combines(adapters) {
			l.combined--
		}
	}
}
