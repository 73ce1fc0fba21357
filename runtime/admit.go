package runtime

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// admit gives free slots to the preempted sequences, oldest first, and then to
// those that wait. A sequence starts when there are blocks for all its tokens, or
// room for it in the step; until there are, nobody overtakes it.
func (e *Engine) admit() {
	for len(e.running) < e.options.Slots {
		var s *sequence
		if len(e.preempted) > 0 {
			s = e.preempted[0]
		} else if s = e.queue.first(); s == nil {
			return
		}
		if s.tokens == nil {
			e.prepare(s)
		}
		if e.encoder && !e.roomFor(s) || !e.place(s) {
			return
		}
		if s.state == preempted {
			e.preempted = slices.Delete(e.preempted, 0, 1)
		} else {
			e.queue.pop(s)
			e.started(s)
		}
		at, _ := slices.BinarySearchFunc(e.running, s, compare)
		e.running = slices.Insert(e.running, at, s)
		e.move(s, running)
		if err := e.prefix(s); err != nil {
			e.end(s, "", err)
		}
	}
}

// compare orders sequences by adapter and age: the order of the batch.
func compare(a, b *sequence) int {
	if c := cmp.Compare(a.lease.Version(), b.lease.Version()); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// prepareText sets up the text that continues a prompt.
func (e *Engine) prepareText(s *sequence) {
	r := s.request
	g := &s.generation
	g.ends = e.model.Config().EOS
	if a := s.lease.Adapter(); a != nil && len(a.EndTokens()) > 0 {
		g.ends = slices.Concat(g.ends, a.EndTokens())
	}
	if r.Constraint != nil {
		g.matcher = r.Constraint.NewMatcher(g.ends)
	}
	if e.decoder != nil {
		g.text = &text{decoder: e.decoder(!r.Special), stops: r.Stop, keeps: r.KeepStop}
		if own := s.lease.Tokenizer(); own != nil {
			g.text.decoder = own.NewDecoder(!r.Special)
		}
		if len(r.Shown) > 0 {
			g.text.decoder.Show(r.Shown)
		}
		if r.Constraint != nil { // whose tokens have the texts that they have there
			g.text.decoder.Continue()
		}
	}
	g.sampler.least = r.MinTokens
	if !r.IgnoreEOS {
		g.sampler.ends = g.ends
	}
	g.sampler.ends = slices.Concat(g.sampler.ends, r.StopIDs)
	g.most = r.MaxTokens
	if g.most < 0 {
		g.most = e.options.Context - s.virtual - len(r.Prompt)
	}
}

// prepare sets up a sequence that is about to run for the first time.
func (e *Engine) prepare(s *sequence) {
	r := s.request
	if r.Encode == EncodeNothing {
		e.prepareText(s)
	}
	most := s.virtual + len(r.Prompt) + s.generation.most
	s.tokens, s.types = r.Prompt, r.Types
	if most > len(r.Prompt) {
		s.tokens = make([]int32, 0, most)
		for i := range s.virtual {
			s.tokens = append(s.tokens, int32(-1-i))
		}
		s.tokens = append(s.tokens, r.Prompt...)
		if r.Types != nil {
			s.types = append(make([]int32, s.virtual), r.Types...)
		}
	}
	if !e.encoder {
		s.blocks = make([]int32, 0, blocksFor(most))
	}
	s.identity = identityOf(e.root.of(r.Scope), s.lease.Adapter(), s.from, e.model.Config().Layers)
	s.kinds = e.kinds(s)
	s.last = Event{Token: NoToken}
}

// place finds and takes the blocks for all tokens of a sequence, and reports
// whether there were enough.
func (e *Engine) place(s *sequence) bool {
	s.key, s.low = s.identity.root, s.identity.root
	if e.encoder {
		return true
	}
	if e.looksUp(s) {
		s.blocks, s.key = e.blocks.find(s.blocks, s.identity, s.tokens)
	}
	s.labelled = len(s.blocks)
	for n := range s.labelled {
		s.low = s.identity.below(s.low, s.tokens[n*kernels.BlockLen:])
	}
	if !e.takeRest(s) {
		e.blocks.drop(s.blocks)
		s.blocks = s.blocks[:0]
		return false
	}
	s.computed = s.labelled * kernels.BlockLen
	return true
}

// takeRest takes the blocks that were not found, and reports whether there were
// enough: to begin with beside others also one to grow by, lest the first that
// does preempts this one at once. A block whose lower layers another has takes
// those pages over; they are written again, with the same bits.
func (e *Engine) takeRest(s *sequence) bool {
	b, held, need := e.blocks, len(s.blocks), blocksFor(len(s.tokens))-len(s.blocks)
	pages, spare := 0, 0
	if len(e.running) > 0 {
		spare = 1
	}
	e.lows = e.lows[:0]
	// What the base has of a prompt it has found by now: only adapters' blocks are
	// left to share with.
	shares := s.identity.shared > 0 && !e.options.NoPrefixCache && (s.identity.adapter != "" || len(b.lower) > 0)
	for n := held; n < held+need; n++ {
		donor, shared := nobody, 0
		if from := n * kernels.BlockLen; shares && from+kernels.BlockLen <= len(s.tokens) {
			low := s.low
			if n > held {
				low = e.lows[n-held-1]
			}
			e.lows = append(e.lows, low.extend(s.tokens[from:]))
			donor, shared = b.donor(e.lows[n-held])
		}
		pages += b.cost(donor, min(shared, s.identity.shared))
	}
	if !b.room(need+spare, pages+spare*b.layers) {
		return false // before anything gives way
	}
	for n := range need {
		donor, shared := nobody, 0
		if n < len(e.lows) {
			donor, shared = b.donor(e.lows[n])
		}
		block, ok := b.take(donor, min(shared, s.identity.shared))
		if !ok { // a donor has given way
			return false
		}
		s.blocks = append(s.blocks, block)
	}
	return true
}

// looksUp reports whether a prompt is sought in the prefix cache.
func (e *Engine) looksUp(s *sequence) bool { return !e.options.NoPrefixCache && !s.whole() }

// started accounts for a sequence's first admission.
func (e *Engine) started(s *sequence) {
	s.admitted = e.now()
	s.cached = max(s.computed-s.virtual, 0)
	e.mu.Lock()
	e.counts.PromptTokens += uint64(len(s.request.Prompt))
	if e.looksUp(s) {
		e.counts.LookedUpTokens += uint64(len(s.request.Prompt))
	}
	e.counts.CachedTokens += uint64(s.cached)
	e.mu.Unlock()
	e.options.Observer.Started(s.lease.Name(), s.admitted.Sub(s.submitted))
}

// prefix writes the keys and values of prefix tuning to the positions before
// the prompt that were not found in the prefix cache.
func (e *Engine) prefix(s *sequence) (err error) {
	if s.computed >= s.virtual {
		return nil
	}
	defer e.rescue(s, &err)
	a := s.lease.Adapter()
	k, _ := a.Prefix(0)
	switch {
	case k.Empty():
		return nil // virtual tokens, computed like others
	case e.encoder: // the pass stores them with each layer
		s.computed = s.virtual
		return nil
	}
	for i, kv := range e.cache.Layers {
		k, v := a.Prefix(i)
		if k.Rows != s.virtual || v.Rows != s.virtual {
			return fmt.Errorf("%w: layer %d has %d prefix positions, not %d", ErrPanic, i, k.Rows, s.virtual)
		}
		for p := s.computed; p < s.virtual; p++ {
			kv.Store(s.blocks[p/kernels.BlockLen], p, k.Row(p), v.Row(p))
		}
	}
	s.computed = s.virtual
	return nil
}

// grow gives each running sequence a block for its next token. When there is
// none left the newest sequence gives up its blocks; it resumes later from its
// tokens, with the same bits.
func (e *Engine) grow() {
	for i := 0; i < len(e.running); {
		s := e.running[i]
		switch {
		case blocksFor(len(s.tokens)) <= len(s.blocks):
			i++
		case e.blocks.free() > 0:
			block, _ := e.blocks.take(nobody, 0)
			s.blocks = append(s.blocks, block)
		default:
			e.preempt(e.newest())
			i = 0
		}
	}
}

func (e *Engine) newest() *sequence {
	newest := e.running[0]
	for _, s := range e.running {
		if s.id > newest.id {
			newest = s
		}
	}
	return newest
}

func (e *Engine) preempt(s *sequence) {
	e.vacate(s)
	at, _ := slices.BinarySearchFunc(e.preempted, s.id, func(s *sequence, id uint64) int { return cmp.Compare(s.id, id) })
	e.preempted = slices.Insert(e.preempted, at, s)
	e.move(s, preempted)
	e.mu.Lock()
	e.counts.Preemptions++
	e.mu.Unlock()
}

// vacate takes a running sequence's slot and blocks.
func (e *Engine) vacate(s *sequence) {
	e.running = slices.DeleteFunc(e.running, func(r *sequence) bool { return r == s })
	e.blocks.drop(s.blocks)
	s.blocks, s.computed, s.labelled, s.passed = s.blocks[:0], 0, 0, 0
}
