package runtime

// A ranking has the first of its members at hand: a heap, each member of which
// knows its index.
type ranking[T ranked[T]] []T

type ranked[T any] interface {
	before(T) bool
	index() *int // written by the ranking alone
}

// first is the member that comes before all others; there must be one.
func (r ranking[T]) first() T { return r[0] }

func (r *ranking[T]) add(x T) {
	*x.index() = len(*r)
	*r = append(*r, x)
	r.up(len(*r) - 1)
}

func (r *ranking[T]) drop(x T) {
	h, i, last := *r, *x.index(), len(*r)-1
	h.swap(i, last)
	clear(h[last:])
	*r = h[:last]
	if i < last {
		r.moved(h[i])
	}
}

// moved finds the place of a member whose rank has changed.
func (r ranking[T]) moved(x T) {
	r.up(*x.index())
	r.down(*x.index())
}

func (r ranking[T]) up(i int) {
	for parent := (i - 1) / 2; i > 0 && r[i].before(r[parent]); parent = (i - 1) / 2 {
		r.swap(i, parent)
		i = parent
	}
}

func (r ranking[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(r) {
			return
		}
		if child+1 < len(r) && r[child+1].before(r[child]) {
			child++
		}
		if !r[child].before(r[i]) {
			return
		}
		r.swap(i, child)
		i = child
	}
}

func (r ranking[T]) swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	*r[i].index(), *r[j].index() = i, j
}
