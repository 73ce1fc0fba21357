package grammar

// look is what a state says of a vocabulary, whatever is on the stack.
type look struct {
	inside []uint64 // tokens that stay in the rule and what it calls
	beyond []beyond // others that leave it
	over   bool     // some can be read in too many ways, so that neither is known
}

// beyond is a token of whose first bytes the rule ends: the others are for
// whoever called it.
type beyond struct {
	token int32
	from  int32 // the first of the others
}

func (l *look) size() int { return 8*(len(l.inside)+len(l.beyond)) + 128 }

// near is a thread's span as far as tokens tell it from others: none has more
// characters than the longest has bytes.
func (c *Constraint) near(t thread) span {
	if t.span == anySpan {
		return t.span
	}
	return c.block(t.at).near(t.span, c.vocabulary.longest)
}

// lookOf is the look of a thread, which is found out once; c.mu is held.
func (c *Constraint) lookOf(t thread) *look {
	v := c.vocabulary
	t.span, t.stack = c.near(t), nil
	of := c.block(t.at)
	if of.name == "" {
		known := c.looks[t]
		if known == nil {
			known = newReader(c.Grammar).look(v, t)
			if c.keep(known.size()) {
				c.looks[t] = known
			}
		}
		return known
	}
	where := place{of.name, t.at - of.first, t.span}
	v.mu.Lock()
	known := v.shared[where]
	v.mu.Unlock()
	if known != nil {
		return known
	}
	known = newReader(c.Grammar).look(v, t)
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.closed && v.shared[where] == nil && v.room.Take(known.size()) {
		v.shared[where] = known
	}
	return known
}

// look goes through the vocabulary. Of tokens that begin alike those bytes are
// read once.
func (r *reader) look(v *Vocabulary, from thread) *look {
	l := &look{inside: make([]uint64, v.Words())}
	// What has been read of a token: of each number of bytes the threads, and
	// whether the rule ends there. What ends at once is a thread of the caller's.
	type level struct {
		threads int // where they end in all
		ends    bool
	}
	r.begin(from, bottom)
	l.over = r.over
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
				now := all[from:levels[n].threads]
				if len(now) == 1 {
					if t, ok := r.alone(now[0], text[n]); ok {
						all = append(all[:levels[n].threads], t)
						levels = append(levels, level{threads: len(all)})
						continue
					}
				}
				r.threads = append(r.threads[:0], now...)
				if !r.step(text[n]) {
					l.over = l.over || r.over
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

// alone is a thread that has read one byte more, if it stays one and does not end.
func (r *reader) alone(t thread, c byte) (next thread, ok bool) {
	if next, ok = r.after(t, c); !ok {
		return next, false
	}
	s := &r.states[next.at]
	return next, len(s.calls) == 0 && !s.final
}
