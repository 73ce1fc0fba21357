package runtime

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// sampler turns the logits of one sequence into its tokens. The steps, in
// vLLM's order:
//
//	bias → repetition → frequency and presence        on logits
//	no end before its time                            on logits
//	greedy: the largest, of equals the lowest token
//	temperature → min-p → top-k → top-p → draw        on probabilities
//
// Of equal logits the lower token counts as the likelier, so that top-k keeps
// exactly k. Min-p compares with the likeliest token; the mass of top-p is
// taken over what min-p and top-k left. The draw depends on the seed and the
// number of the completion token alone.
//
// choose only reads the sampler: it may be run again for the same token.
type sampler struct {
	Sampling
	bias  []tokenBias // ascending by token
	seen  []seenToken // of prompt and completion, where a penalty needs them
	least int         // the first so many tokens are none of ends
	ends  []int32
}

type tokenBias struct {
	token int32
	bias  float32
}

type seenToken struct {
	token int32
	count int32 // in the completion
}

const (
	largestParameter = 1e6  // in magnitude: keeps adjusted logits finite
	greedyBelow      = 1e-5 // temperature
)

func newSampler(r *Request, vocabulary int) (sampler, error) {
	s := sampler{Sampling: r.Sampling}
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	within := func(x float32) bool { return x >= -largestParameter && x <= largestParameter }
	check(s.Temperature >= 0 && s.Temperature <= largestParameter, "temperature is %v", s.Temperature)
	check(s.TopK >= 0, "top-k is %d, below 0", s.TopK)
	check(s.TopP >= 0 && s.TopP <= 1, "top-p is %v, not within 0 and 1", s.TopP)
	check(s.MinP >= 0 && s.MinP <= 1, "min-p is %v, not within 0 and 1", s.MinP)
	check(s.Repetition == 0 || s.Repetition >= 1/largestParameter && s.Repetition <= largestParameter, "repetition penalty is %v", s.Repetition)
	check(within(s.Presence), "presence penalty is %v", s.Presence)
	check(within(s.Frequency), "frequency penalty is %v", s.Frequency)
	check(r.Logprobs <= vocabulary && r.PromptLogprobs <= vocabulary, "more log-probabilities than the %d tokens of the vocabulary", vocabulary)
	check(r.Constraint == nil || !r.IgnoreEOS, "end tokens are ignored, and a grammar needs them")
	check(r.Constraint == nil || r.MinTokens == 0, "an answer of at least %d tokens is asked for, and one within a grammar is as long as that says", r.MinTokens)
	check(r.Constraint == nil || vocabulary == math.MaxInt32 || r.Constraint.Tokens() == vocabulary, "the grammar is over another vocabulary than the %d tokens here", vocabulary)
	for _, token := range slices.Sorted(maps.Keys(s.Bias)) {
		bias := s.Bias[token]
		check(token >= 0 && int(token) < vocabulary, "bias of token %d, outside the vocabulary of %d", token, vocabulary)
		check(within(bias) || r.Constraint == nil && math.IsInf(float64(bias), -1), "bias of token %d is %v", token, bias)
		s.bias = append(s.bias, tokenBias{token, bias})
	}
	check(len(s.bias) < vocabulary || slices.ContainsFunc(s.bias, func(b tokenBias) bool { return within(b.bias) }), "the bias forbids every token")
	if faults != nil {
		return s, fmt.Errorf("%w: %w", ErrSampling, errors.Join(faults...))
	}
	if s.penalises() {
		s.seen = seenIn(r.Prompt)
	}
	return s, nil
}

func (s *sampler) penalises() bool {
	return s.Repetition != 0 && s.Repetition != 1 || s.Presence != 0 || s.Frequency != 0
}

func seenIn(prompt []int32) []seenToken {
	tokens := slices.Clone(prompt)
	slices.Sort(tokens)
	tokens = slices.Compact(tokens)
	seen := make([]seenToken, len(tokens), 2*len(tokens)+64)
	for i, t := range tokens {
		seen[i].token = t
	}
	return seen
}

// accept takes note of a token of the completion.
func (s *sampler) accept(token int32) {
	if !s.penalises() {
		return
	}
	for i := range s.seen {
		if s.seen[i].token == token {
			s.seen[i].count++
			return
		}
	}
	s.seen = append(s.seen, seenToken{token, 1})
}

// choose returns completion token number n for logits, which it leaves as they
// were.
func (s *sampler) choose(c *choice, logits []float32, n int) int32 {
	s.adjust(c, logits)
	if n < s.least {
		for _, end := range s.ends {
			if int(end) < len(logits) {
				c.replace(logits, end, float32(math.Inf(-1)))
			}
		}
	}
	var token int32
	if s.Temperature < greedyBelow {
		token = int32(kernels.ArgMax(logits))
	} else {
		token = s.draw(c, logits, uniform(s.Seed, uint64(n)))
	}
	c.restore(logits)
	return token
}

// adjust applies bias and penalties and notes in c what they replaced.
func (s *sampler) adjust(c *choice, logits []float32) {
	c.replaced = c.replaced[:0]
	for _, b := range s.bias {
		c.replace(logits, b.token, logits[b.token]+b.bias)
	}
	for _, t := range s.seen {
		l := logits[t.token]
		if s.Repetition != 0 {
			if l > 0 {
				l /= s.Repetition
			} else {
				l *= s.Repetition
			}
		}
		if t.count > 0 {
			l -= s.Frequency*float32(t.count) + s.Presence
		}
		c.replace(logits, t.token, l)
	}
}

// draw picks a token by the random number u in [0, 1).
func (s *sampler) draw(c *choice, logits []float32, u float64) int32 {
	if s.TopK > 0 && s.TopK < len(logits) {
		c.top(logits, s.TopK)
	} else {
		c.all(logits)
	}
	c.weigh(logits[kernels.ArgMax(logits)], 1/float64(s.Temperature), float64(s.MinP))
	if s.TopP > 0 && s.TopP < 1 {
		c.nucleus(float64(s.TopP))
	}
	return c.pick(u)
}

// uniform is random number n of a seed, in [0, 1): SplitMix64 (Steele et al.,
// 2014) entered at place n, so any number can be had without those before it.
func uniform(seed, n uint64) float64 {
	return float64(mix(mix(seed)+(n+1)*0x9e3779b97f4a7c15)>>11) / (1 << 53)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
