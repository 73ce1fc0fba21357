package grammar

// look is what a state says of a vocabulary, whatever is on the stack.
type look struct {
	inside []uint64 // tokens that stay in the rule and what it calls
	beyond []beyond // others that leave it
}

// beyond is a token of whose first bytes the rule ends: the others are for
// whoever called it.
type beyond struct {
	token int32
	from  int32 // the first of the others
}

// maxLooks is how many of them a grammar keeps: each is a bit a token, and more.
const maxLooks = 1024

// lookOf is the look of a state, which is found out once.
func (g *Grammar) lookOf(v *Vocabulary, at int32) *look {
	if where, ok := g.place(at); ok {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.shared[where] == nil {
			v.shared[where] = newReader(g).look(v, at)
		}
		return v.shared[where]
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.looks[at]
	if known == nil {
		if len(g.looks) == maxLooks {
			clear(g.looks)
		}
		known = newReader(g).look(v, at)
		g.looks[at] = known
	}
	return known
}

// look goes through the vocabulary. Of tokens that begin alike those bytes are
// read once.
func (r *reader) look(v *Vocabulary, at int32) *look {
	l := &look{inside: make([]uint64, v.Words())}
	// What has been read of a token: of each number of bytes the threads, and
	// whether the rule ends there. What ends at once is a thread of the caller's.
	type level struct {
		threads int // where they end in all
		ends    bool
	}
	r.begin(at, bottom)
	all := append([]thread(nil), r.threads...)
	levels := []level{{threads: len(all)}}
	const none = 1 << 30
	dead := int32(none) // so many bytes in common lead nowhere
	for i, text := range v.bytes {
		if v.common[i] < dead {
			dead = none
			levels = levels[:v.common[i]+1]
			for n := int(v.common[i]); n < len(text); n++ {
				from := 0
				if n > 0 {
					from = levels[n-1].threads
				}
				r.threads = append(r.threads[:0], all[from:levels[n].threads]...)
				if !r.step(text[n]) {
					dead = int32(n + 1)
					break
				}
				all = append(all[:levels[n].threads], r.threads...)
				levels = append(levels, level{len(all), r.popped})
			}
		}
		read := len(levels) - 1
		if read == len(text) {
			l.inside[v.ids[i]/64] |= 1 << (v.ids[i] % 64)
			continue
		}
		for n := 1; n <= read; n++ {
			if levels[n].ends {
				l.beyond = append(l.beyond, beyond{v.ids[i], int32(n)})
			}
		}
	}
	return l
}
