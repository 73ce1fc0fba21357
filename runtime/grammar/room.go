package grammar

import "sync/atomic"

// Room is the memory that grammars and what is kept of them may take together.
type Room struct {
	most int64
	used atomic.Int64
	full func()
}

// NewRoom returns room for so many bytes.
func NewRoom(bytes int64) *Room { return &Room{most: bytes, full: func() {}} }

// OnFull has give called where there is no room, to give back what can be spared. It
// is called in the midst of a step: it must not wait for anything. It is set before
// the first Take.
func (r *Room) OnFull(give func()) { r.full = give }

// Take takes so many bytes, and reports whether there are as many.
func (r *Room) Take(bytes int) bool {
	if r.take(bytes) {
		return true
	}
	r.full()
	return r.take(bytes)
}

func (r *Room) take(bytes int) bool {
	if r.used.Add(int64(bytes)) <= r.most {
		return true
	}
	r.used.Add(-int64(bytes))
	return false
}

// Give returns what Take took.
func (r *Room) Give(bytes int) { r.used.Add(-int64(bytes)) }

// Most is how many bytes there are.
func (r *Room) Most() int64 { return r.most }

// Used is how many bytes are taken.
func (r *Room) Used() int64 { return r.used.Load() }
