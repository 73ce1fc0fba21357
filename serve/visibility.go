package serve

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// A view is the catalogue as a caller's key sees it: an adapter that it may not
// see is not there. Handlers reach adapters through a view alone. Whether a name
// is seen is told by the name, so nothing is looked up of one that is not. It
// embeds nothing, so that a method that is added to Catalogue is thought of here.
type view struct {
	all Catalogue
	who *caller
}

var _ Catalogue = view{}

// visible is the catalogue as the sender of a request sees it; nil: the server
// has none.
func (s *Server) visible(c *fiber.Ctx) Catalogue {
	if s.catalogue == nil {
		return nil
	}
	return view{s.catalogue, callerOf(c)}
}

// sees reports whether an adapter of that name is there for the caller.
func (w *caller) sees(name string) bool { return w.keys == nil || w.key.Sees(name) }

func (v view) see(name string) error {
	if !v.who.sees(name) {
		return catalogue.Unknown(name)
	}
	return nil
}

func (v view) use(name string) error {
	if err := v.see(name); err != nil {
		return err
	}
	if v.who.keys != nil && !v.who.key.Uses(name) {
		return forbidden("the key %q may publish adapter %q and not use it", v.who.key.Name, name)
	}
	return nil
}

// publish reports an adapter's name that the key may not publish.
func (w *caller) publish(name string) error {
	if w.keys != nil && !w.key.Publishes(name) {
		return forbidden("the key %q may not publish adapter %q: names that it may publish %s", w.key.Name, name, w.key.Publishable())
	}
	return nil
}

func (v view) Acquire(name, session string) (*catalogue.Lease, error) {
	if err := v.use(name); err != nil {
		return nil, err
	}
	return v.all.Acquire(name, session)
}

func (v view) AcquireAll(names []string, session string) ([]*catalogue.Lease, []error) {
	leases, faults := make([]*catalogue.Lease, len(names)), make([]error, len(names))
	usable, at := make([]string, 0, len(names)), make([]int, 0, len(names))
	for i, name := range names {
		if faults[i] = v.use(name); faults[i] == nil {
			usable, at = append(usable, name), append(at, i)
		}
	}
	there, missing := v.all.AcquireAll(usable, session)
	for j, i := range at {
		leases[i], faults[i] = there[j], missing[j]
	}
	return leases, faults
}

// Compose reports of a combination what it would report if what the key does not
// see were not there.
func (v view) Compose(parts []catalogue.Part, session string) (*catalogue.Lease, error) {
	if err := catalogue.CheckParts(parts); err != nil {
		return nil, err
	}
	for _, p := range parts {
		err := v.use(p.Name)
		switch alone := len(parts) == 1 && p.Weight == 1; {
		case isUnknown(err) && !alone:
			return nil, catalogue.OfAdapter(p.Name, err)
		case err != nil:
			return nil, err
		}
	}
	return v.all.Compose(parts, session)
}

func (v view) Swap(ctx context.Context, candidate catalogue.Candidate) (catalogue.Entry, error) {
	if err := v.who.publish(candidate.Name); err != nil {
		return catalogue.Entry{}, err
	}
	e, err := v.all.Swap(ctx, candidate)
	return v.who.shown(e), err
}

func (v view) Remove(ctx context.Context, name string, take func(catalogue.Entry) error) error {
	if err := v.see(name); err != nil {
		return err
	}
	if err := v.who.publish(name); err != nil {
		return err
	}
	return v.all.Remove(ctx, name, take)
}

func (v view) Pin(ctx context.Context, name string) error {
	if err := v.see(name); err != nil {
		return err
	}
	return v.all.Pin(ctx, name)
}

func (v view) Unpin(name string) error {
	if err := v.see(name); err != nil {
		return err
	}
	return v.all.Unpin(name)
}

func (v view) Lookup(name string) (catalogue.Entry, error) {
	if err := v.see(name); err != nil {
		return catalogue.Entry{}, err
	}
	e, err := v.all.Lookup(name)
	return v.who.shown(e), err
}

// Try tries for those who may use the adapter, and tells others how it failed before.
func (v view) Try(ctx context.Context, e catalogue.Entry) error {
	if err := v.see(e.Name); err != nil {
		return err
	}
	if v.who.may(keys.Use) && v.use(e.Name) == nil {
		e.Err = v.all.Try(ctx, e)
	}
	var of *catalogue.AdapterError
	if errors.As(e.Err, &of) {
		e.Err = of.Err
	}
	if own, err := v.all.Lookup(e.Name); err == nil {
		e.URI = own.URI // which a caller may not have been shown
	}
	return v.who.shown(e).Err
}

func (v view) Versions(name string) ([]catalogue.Version, catalogue.Alias, error) {
	if err := v.see(name); err != nil {
		return nil, catalogue.Alias{}, err
	}
	all, alias, err := v.all.Versions(name)
	for i := range all {
		all[i].Entry = v.who.shown(all[i].Entry)
	}
	return all, alias, err
}

func (v view) Redirect(ctx context.Context, name string, write func() error) error {
	if err := v.see(name); err != nil {
		return err
	}
	if err := v.who.publish(name); err != nil {
		return err
	}
	return v.all.Redirect(ctx, name, write)
}

func (v view) List() []catalogue.Entry    { return v.seen(v.all.List()) }
func (v view) Entries() []catalogue.Entry { return v.seen(v.all.Entries()) }

func (v view) seen(all []catalogue.Entry) []catalogue.Entry {
	all = slices.DeleteFunc(all, func(e catalogue.Entry) bool { return v.see(e.Name) != nil })
	for i, e := range all {
		all[i] = v.who.shown(e)
	}
	return all
}

func (v view) Match(wanted func(name string) bool) []catalogue.Match {
	return v.all.Match(func(name string) bool { return wanted(name) && v.who.sees(name) })
}

// Capacity is everybody's.
func (v view) Capacity() int { return v.all.Capacity() }

// Bytes are those of the adapters that the key sees, beside the budget of all.
func (v view) Bytes() (used, budget int) {
	used, budget = v.all.Bytes()
	if v.who.may(keys.Admin) {
		return used, budget
	}
	used = 0
	for _, e := range v.Entries() {
		used += e.Bytes
	}
	return used, budget
}

// shown is an entry as a caller may see it: where an adapter lies on this machine
// is for admins.
func (w *caller) shown(e catalogue.Entry) catalogue.Entry {
	if w.may(keys.Admin) {
		return e
	}
	hide := w.paths.Replace
	if folder := folderOf(e); isFolderPath(folder) {
		own := strings.NewReplacer(folder+string(filepath.Separator), "", folder, e.Name)
		hide = func(text string) string { return w.paths.Replace(own.Replace(text)) }
		e.URI = e.Name
	}
	e.Warning = hide(e.Warning)
	if e.Err != nil {
		e.Err = errors.New(hide(w.told(e.Err.Error(), e.Err)))
	}
	return e
}

// told is the text of an error without what it tells of another tenant: its name,
// and what it has in memory.
func (w *caller) told(text string, err error) string {
	var quota *catalogue.QuotaError
	if !errors.As(err, &quota) || w.keys == nil || w.tenant.Name == quota.Owner {
		return text
	}
	return strings.Replace(text, quota.Error(), catalogue.ErrQuota.Error(), 1)
}

// newHider returns what takes the server's own folders out of messages.
func newHider(folders ...string) *strings.Replacer {
	var pairs []string
	slices.SortFunc(folders, func(a, b string) int { return len(b) - len(a) }) // the deepest first
	for _, f := range folders {
		if filepath.IsAbs(f) && f != string(filepath.Separator) {
			pairs = append(pairs, f+string(filepath.Separator), "", f, "a folder of the server")
		}
	}
	return strings.NewReplacer(pairs...)
}

// failureFor is failureOf without the server's paths and what is another
// tenant's, unless who is an admin.
func (s *Server) failureFor(who *caller, err error) *failure {
	f := failureOf(err)
	if who != nil && who.may(keys.Admin) {
		return f
	}
	shown := *f
	if who != nil {
		shown.message = who.told(shown.message, err)
	}
	shown.message = s.hidePaths.Replace(shown.message)
	return &shown
}
