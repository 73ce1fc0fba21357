package catalogue

import "fmt"

// QuotaError is an ErrQuota: with the adapter all of its owner's would take more
// memory than they may together, and those that could leave are not enough.
type QuotaError struct {
	Owner        string
	Need, Quota  int // bytes: of the adapter, of all of its owner's
	Pinned, Used int // of those, that cannot leave now
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("%s: it takes %d bytes, and all of %q may take %d; %d are pinned, %d in use",
		ErrQuota, e.Need, e.Owner, e.Quota, e.Pinned, e.Used)
}

func (e *QuotaError) Unwrap() error { return ErrQuota }

// quota tells whose adapter has that name and what all of theirs may take; bytes
// is 0 where nothing holds them but the budget.
func (r *residence) quota(name string) (owner string, bytes int) {
	if r.owner == nil {
		return "", 0
	}
	return r.owner(name)
}

// owned are the versions in memory whose owner that is, but for old, the least
// recently used first, and the bytes that others of its loads have been promised.
func (r *residence) owned(owner string, l *load, old *version) (versions []*version, promised int) {
	for _, v := range r.order.Keys() {
		if whose, _ := r.quota(v.record.name); whose == owner && v != old {
			versions = append(versions, v)
		}
	}
	for other := range r.promises {
		if whose, _ := r.quota(other.record.name); whose == owner && other != l {
			promised += other.room
		}
	}
	return versions, promised
}

// leaving are the idle versions of l's owner that have to leave so that l keeps
// within the owner's quota. Old, which l takes the place of, does not count: it
// ends with the last request that uses it.
func (r *residence) leaving(l *load, old *version) (idle []*version, err error) {
	owner, quota := r.quota(l.record.name)
	if quota == 0 {
		return nil, nil
	}
	versions, promised := r.owned(owner, l, old)
	over := promised + l.need - quota
	for _, v := range versions {
		over += v.bytes
	}
	fault := QuotaError{Owner: owner, Need: l.need, Quota: quota, Used: promised}
	for _, v := range versions {
		switch {
		case over > 0 && v.evictable():
			idle = append(idle, v)
			over -= v.bytes
		case v.record.pinned && !v.retired:
			fault.Pinned += v.bytes
		case !v.evictable():
			fault.Used += v.bytes
		}
	}
	if over > 0 {
		return nil, &fault
	}
	return idle, nil
}

// exceeds reports whether l's owner has no room for it, and why.
func (r *residence) exceeds(l *load, old *version, why *error) bool {
	_, err := r.leaving(l, old)
	if err != nil {
		*why = err
	}
	return err != nil
}
