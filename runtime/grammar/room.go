package grammar

import "sync/atomic"

// Room is the memory that grammars and what is kept of them may take together.
type Room struct {
	most int64
	used atomic.Int64
}

// NewRoom returns room for so many bytes.
func NewRoom(bytes int64) *Room { return &Room{most: bytes} }

// Take takes so many bytes, and reports whether there are as many.
func (r *Room) Take(bytes int) bool {
	if r.used.Add(int64(bytes)) <= r.most {
		return true
	}
	r.used.Add(-int64(bytes))
	return false
}

// Give returns what Take took.
func (r *Room) Give(bytes int) { r.used.Add(-int64(bytes)) }

// Used is how many bytes are taken.
func (r *Room) Used() int64 { return r.used.Load() }
