package runtime

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/pooling"
)

// readings are requests for rows of a prompt of n tokens: hidden states, pooled rows
// and scores of heads, one of which stands behind an adapter's virtual tokens and one
// behind an adapter's prefix.
func readings(g *golden, n int) (calls []*call) {
	g.t.Helper()
	g.saveHeads(map[string]map[string]any{
		"prefix-head": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5, "task_type": "SEQ_CLS", "modules_to_save": []string{"classifier", "score"}},
		"prefix-tags": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3, "task_type": "TOKEN_CLS", "modules_to_save": []string{"classifier", "score"}},
	})
	for i, c := range []call{
		{Request{Encode: EncodeScores}, "text"}, {Request{Encode: EncodeScores}, "tokens"}, {Request{Encode: EncodeScores}, "prompt"},
		{Request{Encode: EncodeScores}, "prefix-head"}, {Request{Encode: EncodeScores}, "prefix-tags"}, {Request{Encode: EncodeScores}, "dora"},
		{Request{Encode: EncodeTokens}, ""}, {Request{Encode: EncodeTokens}, "prefix-head"},
		{Request{Encode: EncodeFolded, Pooling: []pooling.Mode{pooling.Mean, pooling.Max}}, "text"},
		{Request{Encode: EncodeFolded, Pooling: []pooling.Mode{pooling.First, pooling.Last, pooling.WeightedMean}, PoolFrom: 3}, "prompt"},
		{Request{Encode: EncodeFolded, Pooling: []pooling.Mode{pooling.Last}}, ""},
	} {
		c.Logprobs, c.PromptLogprobs = -1, -1
		for j := range n {
			c.Prompt = append(c.Prompt, int32((i*31+j*j*7+j)%g.m.Config().Vocabulary))
		}
		calls = append(calls, &c)
	}
	return calls
}

// saveHeads is save, of adapters with heads of four classes.
func (g *golden) saveHeads(configs map[string]map[string]any) {
	g.t.Helper()
	for name, config := range configs {
		c, err := adapters.NewConfig(config)
		if err != nil {
			g.t.Fatal(err)
		}
		c.Classes = &models.Classes{Names: models.ClassNames(4)}
		g.saveAs(name, c)
	}
}

// TestClassifyingStepAllocatesNothing holds the steps of long texts, which are
// classified, tagged, pooled and read token by token, to the buffers of the ones before.
func TestClassifyingStepAllocatesNothing(t *testing.T) {
	g := openHeads(t, "llama-gqa")
	calls := readings(g, 120)
	e := g.engine(2, Options{StepTokens: len(calls), Slots: len(calls), NoPrefixCache: true})
	defer e.pool.Close()
	streams := g.submit(e, calls)
	e.intake()
	step := func() {
		if !e.step() {
			t.Fatal("there is nothing left to do")
		}
	}
	for range 50 {
		step()
	}
	if n := len(e.running); n != len(calls) {
		t.Fatalf("%d of %d run", n, len(calls))
	}
	g.still()
	if n := testing.AllocsPerRun(40, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
	for e.step() {
	}
	for i, s := range streams {
		if a := collect(context.Background(), s); a.err != nil || a.encoded.Empty() {
			t.Errorf("call %d: %v", i, a.err)
		}
	}
}

// TestPreemptedReadings: a text that loses its blocks while it is classified, pooled or
// read has the bits of one that is alone; so have those beside a text that is given up,
// whose blocks are free at once.
func TestPreemptedReadings(t *testing.T) {
	g := openHeads(t, "llama-gqa")
	calls := readings(g, 70)
	var alone []answer
	for _, c := range calls {
		a := g.run(g.engine(1, Options{NoPrefixCache: true}), []*call{c}, nil)[0]
		if a.err != nil || a.encoded.Empty() {
			t.Fatalf("%q: %+v", c.adapter, a)
		}
		alone = append(alone, a)
	}
	for i, c := range calls {
		for _, leaves := range []bool{false, true} {
			what := fmt.Sprintf("call %d, adapter %q, encoding %d, left %t", i, c.adapter, c.Encode, leaves)
			// Two answers grow until they need the text's blocks, of whose tokens a step
			// has room for one.
			grow := &call{Request{Prompt: []int32{5, 6}, MaxTokens: 100, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}, ""}
			e := g.engine(1, Options{CacheBlocks: 6, StepTokens: 3, Slots: 4})
			others := g.submit(e, []*call{grow, {Request: Request{Prompt: []int32{9, 8}, MaxTokens: 100, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}}})
			stream := g.submit(e, []*call{c})[0]
			was := false
			for {
				e.intake()
				if !e.step() {
					break
				}
				now := slices.ContainsFunc(e.preempted, func(s *sequence) bool { return s.request.Encode != EncodeNothing })
				if now && !was && leaves {
					stream.Close()
				}
				was = was || now
			}
			if !was {
				t.Errorf("%s: it was not preempted", what)
			}
			if got := collect(context.Background(), stream); !leaves {
				same(t, what, got, alone[i])
			} else if !got.encoded.Empty() {
				t.Errorf("%s: it answers", what)
			}
			for _, o := range others {
				if a := collect(context.Background(), o); a.err != nil || a.finish != FinishLength {
					t.Errorf("%s: another answer: %+v", what, a)
				}
			}
			if n := e.blocks.used(); n != 0 {
				t.Errorf("%s: %d blocks are still held", what, n)
			}
			e.pool.Close()
		}
	}
}

// TestReadingsAreGivenUp: a text whose client leaves in its midst costs no step more,
// and those that are in the batch with it go on with the same bits.
func TestReadingsAreGivenUp(t *testing.T) {
	g := openHeads(t, "llama-gqa")
	calls := readings(g, 40)
	for i := range calls {
		e := g.engine(1, Options{StepTokens: 2 * len(calls), Slots: len(calls)})
		streams := g.submit(e, calls)
		for step := 0; ; step++ {
			e.intake()
			if step == 5 {
				streams[i].Close()
				e.intake()
				if n := len(e.running); n != len(calls)-1 {
					t.Fatalf("call %d: %d run", i, n)
				}
			}
			if !e.step() {
				break
			}
		}
		for j, c := range calls {
			got := collect(context.Background(), streams[j])
			if i == j {
				if !got.encoded.Empty() {
					t.Errorf("call %d was given up, and answers", i)
				}
				continue
			}
			want := g.run(g.engine(1, Options{NoPrefixCache: true}), []*call{c}, nil)[0]
			same(t, fmt.Sprintf("call %d, adapter %q, beside %d", j, c.adapter, i), got, want)
		}
		if n := e.blocks.used(); n != 0 {
			t.Errorf("call %d: %d blocks are still held", i, n)
		}
		e.pool.Close()
	}
}

// TestScoresBesideVirtualTokens: the row that a head reads is the text's own, behind
// whatever stands before it: the scores of a text under an adapter with a prefix are
// those of the hidden states that the same adapter gives.
func TestScoresBesideVirtualTokens(t *testing.T) {
	g := openHeads(t, "llama-gqa")
	g.saveHeads(map[string]map[string]any{
		"prefix-head": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5, "task_type": "SEQ_CLS", "modules_to_save": []string{"classifier", "score"}},
		"prompt-tags": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4, "task_type": "TOKEN_CLS", "modules_to_save": []string{"classifier", "score"}},
	})
	prompt := []int32{11, 12, 13, 14, 15, 16, 17}
	for _, name := range []string{"prefix-head", "prompt-tags"} {
		states := g.encoded(g.engine(1, Options{}), []*call{{Request{Prompt: prompt, Encode: EncodeTokens, Logprobs: -1, PromptLogprobs: -1}, name}}, nil)[0]
		scores := g.encoded(g.engine(1, Options{}), []*call{{Request{Prompt: prompt, Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1}, name}}, nil)[0]
		lease, err := g.catalogue.Acquire(name, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		head, err := g.m.Config().Head(lease.Adapter().Classes().Task)
		if err != nil {
			t.Fatal(err)
		}
		rows := states
		if head.Task == models.Classify {
			rows = states.Span(len(prompt)-1, len(prompt))
		}
		pool := kernels.NewPool(1)
		p := models.NewPass(pool)
		var b models.Batch
		b.AddText(prompt[:rows.Rows], nil, 0, lease.Adapter())
		for i := range rows.Rows {
			b.Out = append(b.Out, int32(i))
		}
		x := p.New(rows.Rows, rows.Cols)
		x.Data.Copy(rows)
		want := head.Forward(p, &b, 0, x).Data.Columns(0, 4)
		if d := modeltest.MaxDifference(scores, want); scores.Rows != rows.Rows || d != 0 {
			t.Errorf("%s: %d rows, off by %g", name, scores.Rows, d)
		}
		lease.Release()
		pool.Close()
	}
}

// submit submits calls, whose adapters are loaded.
func (g *golden) submit(e *Engine, calls []*call) (streams []*Stream) {
	g.t.Helper()
	for _, c := range calls {
		for _, p := range c.parts() {
			if _, err := g.catalogue.Load(context.Background(), p.Name); err != nil {
				g.t.Fatal(err)
			}
		}
		stream, err := c.submit(context.Background(), e, g.catalogue)
		if err != nil {
			g.t.Fatal(err)
		}
		streams = append(streams, stream)
	}
	return streams
}
