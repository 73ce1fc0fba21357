package serve

import (
	"sync"

	"github.com/peft-serve/peft-serve/catalogue"
)

// maxLabelled is the most adapter versions with series of their own.
const maxLabelled = 256

// otherAdapters is the label of all others; it is no adapter's name.
const otherAdapters = "(other)"

// adapterLabels bounds the label values of metrics by adapter.
type adapterLabels struct {
	mu     sync.Mutex
	known  map[adapterVersion]struct{}
	forget func(adapter, digest string)
}

type adapterVersion struct{ name, digest string }

func newAdapterLabels(forget func(adapter, digest string)) *adapterLabels {
	return &adapterLabels{known: map[adapterVersion]struct{}{}, forget: forget}
}

// of returns the label values for a version: its own while there is room.
func (l *adapterLabels) of(name, digest string) (adapter, version string) {
	if name == "" {
		return "", ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v := adapterVersion{name, digest}
	if _, ok := l.known[v]; !ok {
		if len(l.known) >= maxLabelled {
			return otherAdapters, ""
		}
		l.known[v] = struct{}{}
	}
	return name, digest
}

// prune forgets the versions that the catalogue no longer has, once no room is
// left.
func (l *adapterLabels) prune(entries []catalogue.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) < maxLabelled {
		return
	}
	present := map[string]bool{}
	for _, e := range entries {
		present[e.Name] = true
	}
	for v := range l.known {
		if !present[v.name] {
			delete(l.known, v)
			l.forget(v.name, v.digest)
		}
	}
}
