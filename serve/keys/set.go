package keys

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Set is the keys of a server. It does not change: a reload makes another.
type Set struct {
	keys    []*Key
	tenants map[string]*Tenant
	owners  []owner // the longest prefix first
}

// Tenant is whom keys count for.
type Tenant struct {
	Name   string
	Weight int    // its share of the engine beside the others'; at least 1
	Limits Limits // those that its keys share
}

type owner struct {
	prefix string
	tenant *Tenant
}

// NewSet checks that keys go together, and reports every fault by name.
func NewSet(keys []Key) (*Set, error) {
	s := &Set{tenants: map[string]*Tenant{}}
	var faults []error
	if len(keys) == 0 {
		faults = append(faults, errors.New("there is no key: nobody could use the server"))
	}
	names, secrets := map[string]*Key{}, map[hash]*Key{}
	for _, k := range keys {
		k.set = s
		if other := names[k.Name]; other != nil {
			faults = append(faults, fmt.Errorf("%s: key %q is there already (%s): give each its own name", k.where, k.Name, other.where))
			continue
		}
		if other := secrets[k.hash]; other != nil {
			faults = append(faults, fmt.Errorf("%s: keys %q and %q (%s) have the same secret: give each its own", k.where, k.Name, other.Name, other.where))
			continue
		}
		names[k.Name], secrets[k.hash] = &k, &k
		s.keys = append(s.keys, &k)
	}
	for _, k := range s.keys {
		faults = append(faults, s.join(k))
	}
	for _, k := range s.keys {
		faults = append(faults, s.own(k))
	}
	for _, t := range s.tenants {
		t.Weight = cmp.Or(t.Weight, 1)
		owns := slices.ContainsFunc(s.owners, func(o owner) bool { return o.tenant == t })
		if t.Limits.Resident > 0 && !owns {
			faults = append(faults, fmt.Errorf("tenant %q: limits.resident counts the adapters below its prefix, and none of its keys has one: give one a prefix", t.Name))
		}
	}
	slices.SortFunc(s.owners, func(a, b owner) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return s, errors.Join(faults...)
}

// join makes k one of its tenant's keys. What they share, one says, or all say
// the same.
func (s *Set) join(k *Key) error {
	t := s.tenants[k.Tenant]
	if t == nil {
		t = &Tenant{Name: k.Tenant}
		s.tenants[k.Tenant] = t
	}
	return errors.Join(
		agree(k, "weight", &t.Weight, k.weight),
		agree(k, "limits.running", &t.Limits.Running, k.Limits.Running),
		agree(k, "limits.waiting", &t.Limits.Waiting, k.Limits.Waiting),
		agree(k, "limits.resident", &t.Limits.Resident, k.Limits.Resident),
		agree(k, "limits.uploads", &t.Limits.Uploads, k.Limits.Uploads),
	)
}

func agree[T int | int64](k *Key, field string, of *T, said T) error {
	if said != 0 && *of != 0 && said != *of {
		return fmt.Errorf("%s: key %q: %s is %d, and another key of tenant %q says %d: they share it, so say it once", k.where, k.Name, field, said, k.Tenant, *of)
	}
	*of = cmp.Or(*of, said)
	return nil
}

// own makes the tenant of k the owner of what is below its prefix.
func (s *Set) own(k *Key) error {
	if k.prefix == "" {
		return nil
	}
	for _, o := range s.owners {
		switch {
		case o.prefix != k.prefix:
		case o.tenant.Name == k.Tenant:
			return nil
		default:
			return fmt.Errorf("%s: key %q: prefix %q is tenant %q's already: a prefix is one tenant's", k.where, k.Name, k.prefix, o.tenant.Name)
		}
	}
	s.owners = append(s.owners, owner{k.prefix, s.tenants[k.Tenant]})
	return nil
}

// Find is the key of a secret, nil if there is none. It takes the same time
// whichever it is: hashes are compared, all of them.
func (s *Set) Find(secret string) *Key {
	given := sha256.Sum256([]byte(secret))
	found := 0 // of s.keys, counted from 1
	for i, k := range s.keys {
		found |= subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(given[:], k.hash[:]), i+1, 0)
	}
	if found == 0 {
		return nil
	}
	return s.keys[found-1]
}

// Has reports whether there is a key of that name.
func (s *Set) Has(name string) bool {
	return slices.ContainsFunc(s.keys, func(k *Key) bool { return k.Name == name })
}

// Owner is the tenant below whose prefix an adapter's name is, the longest such
// prefix deciding; nil: nobody's.
func (s *Set) Owner(adapter string) *Tenant {
	for _, o := range s.owners {
		if strings.HasPrefix(adapter, o.prefix) {
			return o.tenant
		}
	}
	return nil
}

// Quota tells whose an adapter is by its name, and how many bytes all of its
// owner's may take in memory, 0 being any number: what the catalogue asks for.
func (s *Set) Quota(adapter string) (owner string, bytes int) {
	if s == nil {
		return "", 0
	}
	t := s.Owner(adapter)
	if t == nil {
		return "", 0
	}
	return t.Name, int(t.Limits.Resident)
}

// Tenants are all tenants, by name.
func (s *Set) Tenants() []*Tenant {
	return slices.SortedFunc(maps.Values(s.tenants), func(a, b *Tenant) int { return cmp.Compare(a.Name, b.Name) })
}

// Tenant is the tenant of a key.
func (s *Set) Tenant(k *Key) *Tenant { return s.tenants[k.Tenant] }

// Changes says in words how other differs: the names of keys that come, go and
// change, and nothing else of them. Empty: it does not.
func (s *Set) Changes(other *Set) string {
	var added, removed, changed []string
	before := map[string]*Key{}
	for _, k := range s.keys {
		before[k.Name] = k
	}
	for _, k := range other.keys {
		switch old := before[k.Name]; {
		case old == nil:
			added = append(added, k.Name)
		case !old.equals(k):
			changed = append(changed, k.Name)
		}
		delete(before, k.Name)
	}
	for name := range before {
		removed = append(removed, name)
	}
	var words []string
	for _, w := range []struct {
		what  string
		names []string
	}{{"added", added}, {"removed", removed}, {"changed", changed}} {
		if len(w.names) > 0 {
			slices.Sort(w.names)
			words = append(words, w.what+" "+strings.Join(w.names, ", "))
		}
	}
	return strings.Join(words, "; ")
}

// equals compares all that a file says of a key.
func (k *Key) equals(other *Key) bool {
	return k.Name == other.Name && k.Tenant == other.Tenant && k.hash == other.hash && k.Limits == other.Limits &&
		k.prefix == other.prefix && k.weight == other.weight && slices.Equal(k.Rights, other.Rights) &&
		slices.Equal(k.use, other.use) && slices.Equal(k.publish, other.publish) && (k.use == nil) == (other.use == nil) && (k.publish == nil) == (other.publish == nil)
}
