package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/runtime"
)

// question is one request, which can be put to any engine.
type question struct {
	runtime.Request
	form  *form            // that the answer is kept to; nil: it is free
	parts []catalogue.Part // none: the base
	leave int              // after that many tokens; below 0: never
}

func (q *question) String() string {
	form := ""
	if q.form != nil {
		form = ", kept to " + q.form.text
	}
	return fmt.Sprintf("%q, %d tokens %v%s, %+v", catalogue.CombinationName(q.parts), len(q.Prompt), q.Prompt, form, q.Request)
}

// ask draws a request. Prompts begin alike, so that they find one another's
// blocks.
func (c *cast) ask(draw *rand.Rand, i int) *question {
	q := &question{leave: -1}
	q.IgnoreEOS, q.Special = draw.IntN(2) == 0, draw.IntN(2) == 0
	q.Logprobs, q.PromptLogprobs = draw.IntN(5)-1, -1
	q.MaxTokens = draw.IntN(40)
	length := 1 + draw.IntN(20)
	if draw.IntN(2) == 0 {
		length, q.MaxTokens = 32+draw.IntN(34), draw.IntN(16)
	}
	beginning := rand.New(rand.NewPCG(uint64(draw.IntN(3)), 0))
	shared := draw.IntN(length + 1)
	if draw.IntN(2) == 0 {
		shared = length
	}
	tokens := min(c.model.Config().Vocabulary-2, 80)
	for j := range length {
		from := draw
		if j < shared {
			from = beginning
		}
		q.Prompt = append(q.Prompt, int32(2+from.IntN(tokens)))
	}
	if draw.IntN(20) == 0 {
		q.leave = draw.IntN(6)
	}
	if draw.IntN(8) == 0 {
		q.Scope = "another"
	}
	switch draw.IntN(8) {
	case 0, 1: // the base
	case 2:
		for _, k := range draw.Perm(len(c.adding))[:min(len(c.adding), 2+draw.IntN(3))] {
			q.parts = append(q.parts, catalogue.Part{Name: c.adding[k], Weight: float64(1+draw.IntN(20)) / 10})
		}
	default:
		q.parts = part(c.names[draw.IntN(len(c.names))])
	}
	if c.encoder || draw.IntN(6) == 0 {
		c.encode(draw, q)
		return q
	}
	if draw.IntN(6) == 0 {
		q.PromptLogprobs = draw.IntN(3)
	}
	if draw.IntN(2) == 0 {
		q.Sampling = sampling(draw, i, tokens)
	}
	if draw.IntN(4) == 0 {
		q.form, q.IgnoreEOS = c.grammars[draw.IntN(len(c.grammars))], false
	}
	for range draw.IntN(3) {
		q.Stop = append(q.Stop, string(rune('!'+draw.IntN(94)))+string(rune('!'+draw.IntN(94))))
	}
	if draw.IntN(4) == 0 {
		q.StopIDs = []int32{int32(draw.IntN(tokens))}
	}
	return q
}

// common is one of the texts that many ask about, so that they ride on one trunk.
func (c *cast) common(n int) (prompt []int32) {
	draw := rand.New(rand.NewPCG(uint64(n), 1))
	for range 4 + 13*n {
		prompt = append(prompt, int32(2+draw.IntN(min(c.model.Config().Vocabulary-2, 80))))
	}
	return prompt
}

func part(name string) []catalogue.Part { return []catalogue.Part{{Name: name, Weight: 1}} }

// encode has a request ask for rows instead of text.
func (c *cast) encode(draw *rand.Rand, q *question) {
	q.MaxTokens, q.Logprobs = 0, -1
	config := c.model.Config()
	switch what := draw.IntN(6); {
	case what < 2 && len(c.heads) > 0:
		q.Encode, q.parts = runtime.EncodeScores, nil
		if name := c.heads[draw.IntN(len(c.heads))]; name != "" {
			q.parts = part(name)
		}
	case what == 2 && config.Pooler:
		q.Encode = runtime.EncodePooled
	case what == 3:
		q.Encode = runtime.EncodeTokens
	default:
		q.Encode = runtime.EncodeFolded
		for _, mode := range draw.Perm(len(pooling.Names()))[:1+draw.IntN(3)] {
			q.Pooling = append(q.Pooling, pooling.Mode(mode))
		}
		if draw.IntN(3) == 0 {
			q.PoolFrom = draw.IntN(len(q.Prompt))
		}
	}
	if draw.IntN(2) == 0 { // one that others ask about too
		q.Prompt = c.common(draw.IntN(3))
		q.PoolFrom = min(q.PoolFrom, len(q.Prompt)-1)
	}
	if config.TokenTypes > 1 && draw.IntN(2) == 0 { // a pair
		q.Types = make([]int32, len(q.Prompt))
		for i := len(q.Types) / 2; i < len(q.Types); i++ {
			q.Types[i] = 1
		}
	}
	if q.leave >= 0 {
		q.leave = 0
	}
}

func sampling(draw *rand.Rand, i, tokens int) runtime.Sampling {
	s := runtime.Sampling{Temperature: 0.2 + 1.5*draw.Float32(), Seed: uint64(i)}
	switch draw.IntN(5) {
	case 0:
		s.TopK = 1 + draw.IntN(40)
	case 1:
		s.TopP = 0.1 + 0.9*draw.Float32()
	case 2:
		s.MinP, s.Repetition = 0.1*draw.Float32(), 1+draw.Float32()
	case 3:
		s.Presence, s.Frequency = draw.Float32(), draw.Float32()
	case 4:
		s.Bias = map[int32]float32{int32(draw.IntN(tokens)): 4 * draw.Float32()}
	}
	return s
}

// put asks an engine.
func (q *question) put(ctx context.Context, c *cast, s *stage) answer {
	r, text, rows := q.Request, c.text, c.model.Config().Vocabulary
	if len(q.parts) > 0 {
		lease, err := c.known.Compose(q.parts, "")
		if err != nil {
			return answer{err: err}
		}
		defer lease.Release()
		if err := lease.Wait(ctx); err != nil {
			return answer{err: err}
		}
		r.Lease = lease
		if own := lease.Tokenizer(); own != nil {
			text = own
		}
		if own := lease.Adapter().Invocation(); len(own) > 0 {
			at := max(len(r.Prompt)/2-len(own), 0)
			r.Prompt = slices.Concat(r.Prompt[:at], own, r.Prompt[at:])
		}
		if own := lease.Adapter().Vocabulary(); own != rows {
			if own > rows { // it has tokens that the base has not
				r.Prompt = append(slices.Clone(r.Prompt), int32(own-1))
			}
			rows = own
		}
		if r.Types != nil {
			r.Types = append(slices.Clone(r.Types), make([]int32, len(r.Prompt)-len(r.Types))...)
		}
	}
	if q.form != nil {
		r.Constraint = s.forms.constraint(q.form, text, rows)
	}
	stream, err := s.engine.Submit(ctx, &r)
	if err != nil {
		return answer{err: err}
	}
	return collect(ctx, stream, q.leave)
}
