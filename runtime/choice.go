package runtime

import (
	"math"
	"math/bits"
	"slices"
)

// choice is the scratch memory of choosing one token. Its methods see the
// logits of one row; none sorts the vocabulary.
type choice struct {
	replaced   []candidate // logits before bias and penalties, in order
	candidates []candidate // in buffer
	buffer     []candidate
	masked     []float32 // logits of which only some are possible
}

type candidate struct {
	token  int32
	logit  float32
	weight float64 // the probability, but for a factor
}

// likelier orders tokens: of equal logits the lower token comes first.
func (a candidate) likelier(b candidate) bool {
	return a.logit > b.logit || a.logit == b.logit && a.token < b.token
}

func likelier(a, b candidate) bool   { return a.likelier(b) }
func lessLikely(a, b candidate) bool { return b.likelier(a) }
func byLikelihood(a, b candidate) int {
	if a.likelier(b) {
		return -1
	}
	return 1
}

func (c *choice) replace(logits []float32, token int32, l float32) {
	c.replaced = append(c.replaced, candidate{token: token, logit: logits[token]})
	logits[token] = l
}

// restore undoes replace.
func (c *choice) restore(logits []float32) {
	for i := len(c.replaced) - 1; i >= 0; i-- {
		logits[c.replaced[i].token] = c.replaced[i].logit
	}
}

// impossible are logits of tokens that cannot come.
var impossible = func() (never [64]float32) {
	for i := range never {
		never[i] = float32(math.Inf(-1))
	}
	return never
}()

// mask returns logits of which only those with a bit in allowed are possible. Of 64
// tokens it writes the fewer one by one: those that are, or those that are not.
func (c *choice) mask(logits []float32, allowed []uint64) []float32 {
	c.masked = slices.Grow(c.masked[:0], len(logits))[:len(logits)]
	for i, word := range allowed {
		to, from := c.masked[64*i:min(64*i+64, len(logits))], logits[64*i:min(64*i+64, len(logits))]
		if bits.OnesCount64(word) < 32 {
			copy(to, impossible[:])
			for ; word != 0; word &= word - 1 {
				at := bits.TrailingZeros64(word)
				to[at] = from[at]
			}
			continue
		}
		copy(to, from)
		for word = ^word & (1<<len(to) - 1); word != 0; word &= word - 1 {
			to[bits.TrailingZeros64(word)] = impossible[0]
		}
	}
	return c.masked
}

// reserve makes place for n candidates, none as yet.
func (c *choice) reserve(n int) {
	c.buffer = slices.Grow(c.buffer[:0], n)
	c.candidates = c.buffer[:0]
}

// all makes every token a candidate.
func (c *choice) all(logits []float32) {
	c.reserve(len(logits))
	for i, l := range logits {
		c.candidates = append(c.candidates, candidate{token: int32(i), logit: l})
	}
}

// top makes the k likeliest tokens candidates: a heap with the least likely of
// them at its root.
func (c *choice) top(logits []float32, k int) {
	c.reserve(k)
	for i, l := range logits {
		t := candidate{token: int32(i), logit: l}
		switch {
		case i < k:
			if c.candidates = append(c.candidates, t); i == k-1 {
				heapify(c.candidates, lessLikely)
			}
		case l > c.candidates[0].logit: // an equal one is a higher token
			c.candidates[0] = t
			sift(c.candidates, 0, lessLikely)
		}
	}
}

// weigh sets the weights of the candidates relative to the logit of the
// likeliest token and drops those below minP.
func (c *choice) weigh(likeliest float32, scale, minP float64) {
	kept := c.candidates[:0]
	for _, t := range c.candidates {
		t.weight = math.Exp(float64(t.logit-likeliest) * scale)
		if t.weight >= minP && t.weight > 0 {
			kept = append(kept, t)
		}
	}
	c.candidates = kept
}

// nucleus keeps the fewest likeliest candidates whose weights make up p of
// all (Holtzman et al., 2020).
func (c *choice) nucleus(p float64) {
	mass := c.mass()
	// All tokens lighter than this together make up less than 1-p.
	light := (1 - p) * mass / float64(len(c.candidates))
	h := c.candidates[:0]
	for _, t := range c.candidates {
		if t.weight >= light {
			h = append(h, t)
		}
	}
	heapify(h, likelier)
	end := len(h)
	for sum := 0.0; end > 0 && sum < p*mass; {
		sum += h[0].weight
		end--
		h[0], h[end] = h[end], h[0]
		sift(h[:end], 0, likelier)
	}
	c.candidates = h[end:]
}

// pick returns the candidate in which u of the candidates' mass lies.
func (c *choice) pick(u float64) int32 {
	u *= c.mass()
	for _, t := range c.candidates {
		if u -= t.weight; u < 0 {
			return t.token
		}
	}
	return c.candidates[len(c.candidates)-1].token
}

func (c *choice) mass() (sum float64) {
	for _, t := range c.candidates {
		sum += t.weight
	}
	return sum
}

// likeliest returns the n likeliest tokens with their log-probabilities,
// descending; norm is the logits' kernels.LogSumExp.
func (c *choice) likeliest(logits []float32, n int, norm float64) []Logprob {
	if n <= 0 {
		return nil
	}
	c.top(logits, n)
	slices.SortFunc(c.candidates, byLikelihood)
	top := make([]Logprob, n)
	for i, t := range c.candidates {
		top[i] = Logprob{t.token, float32(float64(t.logit) - norm)}
	}
	return top
}

// heapify orders h so that h[0] comes before all others.
func heapify(h []candidate, before func(a, b candidate) bool) {
	for i := len(h)/2 - 1; i >= 0; i-- {
		sift(h, i, before)
	}
}

// sift moves h[i] down to its place.
func sift(h []candidate, i int, before func(a, b candidate) bool) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && before(h[child+1], h[child]) {
			child++
		}
		if !before(h[child], h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
