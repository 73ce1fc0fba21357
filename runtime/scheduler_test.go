package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

var silent = slog.New(slog.DiscardHandler)

func TestDecodeGoesBeforePrompts(t *testing.T) {
	s := newScript(t, Options{StepTokens: 10})
	s.must(s.submit("a", 4, 5))
	s.steps("a0-3", "a4")
	s.must(s.submit("b", 25, 2))
	s.steps(
		"a5 b0-8",   // nine of ten tokens are left for the prompt
		"a6 b9-17",  //
		"a7 b18-24", // a's last token was its fifth: a7 gives it
		"b25",
		"")
	s.want("a", nil, 4, 5)
	s.want("b", nil, 25, 2)
	s.empty()
}

func TestPromptsShareAStep(t *testing.T) {
	s := newScript(t, Options{StepTokens: 12})
	s.must(s.submit("a", 40, 1))
	s.must(s.submit("b", 3, 1))
	s.must(s.submit("c", 9, 1))
	s.steps(
		"a0-4 b0-2 c0-3", // four each; b leaves one over, for the oldest
		"a5-11 c4-8",     // one of c's six is left over
		"a12-23", "a24-35", "a36-39", "")
	s.want("a", nil, 40, 1)
	s.want("b", nil, 3, 1)
	s.want("c", nil, 9, 1)
	s.empty()
}

func TestBatchIsSortedByAdapter(t *testing.T) {
	s := newScript(t, Options{})
	s.adapters("x", "y")
	for _, name := range []string{"a@x", "b", "c@y", "d@x", "e", "f@y"} {
		s.must(s.submit(name, 2, 3))
	}
	var segments int
	s.m.before = func(b models.Batch) { segments = len(b.Segments) }
	s.steps("b0-1 e0-1 a0-1 d0-1 c0-1 f0-1", "b2 e2 a2 d2 c2 f2")
	if segments != 3 {
		t.Errorf("%d segments for a base and two adapters", segments)
	}
	n := s.e.Snapshot()
	if got := fmt.Sprint(n.Running, n.RunningAdapters, n.WaitingAdapters); got != "6 [x y] []" {
		t.Errorf("snapshot says %s", got)
	}
	s.run()
	s.want("d@x", &fakeAdapter{digest: "x"}, 2, 3)
	s.want("e", nil, 2, 3)
	s.empty()
}

func TestPreemptionRecomputesTheNewest(t *testing.T) {
	// Five blocks: a and b take two each for their prompts and need a third.
	s := newScript(t, Options{CacheBlocks: 5, NoPrefixCache: true})
	s.must(s.submit("a", 60, 10))
	s.must(s.submit("b", 61, 10))
	s.steps("a0-59 b0-60", "a60 b61", "a61 b62", "a62 b63",
		"a63 b64", // b, at 64 tokens, took the last block
		"a64",     // a needs one: b, the newer, gives up all of its own
		"a65", "a66", "a67", "a68",
		"b0-65", // from its start, sampled tokens included
		"b66", "b67", "b68", "b69", "")
	if n := s.e.Snapshot().Preemptions; n != 1 {
		t.Errorf("%d preemptions", n)
	}
	s.want("a", nil, 60, 10)
	s.want("b", nil, 61, 10)
	s.empty()
}

func TestNobodyOvertakesAPreemptedSequence(t *testing.T) {
	s := newScript(t, Options{CacheBlocks: 4, NoPrefixCache: true})
	s.must(s.submit("a", 32, 40))
	s.must(s.submit("b", 60, 30))
	s.step()
	s.must(s.submit("c", 5, 1))
	for s.e.Snapshot().Preemptions == 0 {
		if s.step() == "" {
			t.Fatal("nothing was preempted")
		}
	}
	if got := s.take("c"); got.finish != "" {
		t.Error("c overtook the preempted b")
	}
	s.run()
	s.want("a", nil, 32, 40)
	s.want("b", nil, 60, 30)
	s.want("c", nil, 5, 1)
	s.empty()
}

func TestPrefixCache(t *testing.T) {
	s := newScript(t, Options{CacheBlocks: 16})
	s.adapters("x")
	s.must(s.submit("a", 70, 1))
	s.steps("a0-69", "")
	s.must(s.submit("a", 70, 1))
	s.steps("a64-69", "")
	s.want("a", nil, 70, 1)
	s.must(s.submit("a", 64, 1)) // two whole blocks: the last token is computed
	s.steps("a32-63", "")
	s.want("a", nil, 64, 1)
	s.must(s.submit("a@x", 70, 1)) // another adapter's blocks are others
	s.steps("a0-69", "")
	s.want("a@x", &fakeAdapter{digest: "x"}, 70, 1)
	s.must(s.submit("a@x", 70, 1))
	s.steps("a64-69", "")
	if got := s.take("a@x"); got.usage.CachedTokens != 64 || got.usage.AdapterDigest != "x" {
		t.Errorf("usage is %+v", got.usage)
	}
	// A completion's blocks serve the next turn of a conversation.
	s.must(s.submit("b", 30, 40))
	s.run()
	turn := append(prompt("b", 30), s.take("b").tokens...)
	s.must(s.request("b", &Request{Prompt: append(turn, 1, 2), MaxTokens: 1, Logprobs: -1, PromptLogprobs: -1}))
	s.steps("b64-71", "")
	// Prompt log-probabilities need every row.
	s.must(s.request("a", &Request{Prompt: prompt("a", 70), MaxTokens: 1, Logprobs: -1, PromptLogprobs: 0}))
	s.steps("a0-69", "")
	s.empty()
}

func TestPrefixBlocksAreReusedWhenNeeded(t *testing.T) {
	s := newScript(t, Options{CacheBlocks: 4})
	s.must(s.submit("a", 65, 1))
	s.run()
	if n := s.e.Snapshot(); n.BlocksUsed != 0 || n.BlocksCached != 2 {
		t.Errorf("%d blocks used, %d cached", n.BlocksUsed, n.BlocksCached)
	}
	s.must(s.submit("b", 97, 1)) // all four
	s.run()
	s.want("b", nil, 97, 1)
	s.must(s.submit("a", 65, 1))
	s.steps("a0-64", "")
	s.want("a", nil, 65, 1)
	s.empty()
}

// TestReloadServesNoStaleBlocks: vLLM#42125, #30931, llama.cpp#26207.
func TestReloadServesNoStaleBlocks(t *testing.T) {
	s := newScript(t, Options{})
	s.adapters("x")
	s.must(s.submit("a@x", 70, 1))
	s.run()
	s.want("a@x", &fakeAdapter{digest: "x"}, 70, 1)
	s.must(s.submit("b@x", 4, 3))
	s.step() // b runs under the first version
	s.must(s.c.Replace("x", "fake://x2"))
	_, err := s.c.Load(context.Background(), "x")
	s.must(err)
	s.must(s.submit("a@x", 70, 1))
	s.run()
	s.want("a@x", &fakeAdapter{digest: "x2"}, 70, 1)
	s.want("b@x", &fakeAdapter{digest: "x"}, 4, 3)
	s.empty()
}

func TestVirtualTokens(t *testing.T) {
	for _, a := range []*fakeAdapter{{digest: "x", bytes: 1, virtual: 5}, {digest: "x", bytes: 1, prefix: 40}} {
		s := newScript(t, Options{Context: 128, CacheBlocks: 8})
		s.loader.adapters = map[string]*fakeAdapter{"x": a}
		s.adapters("x")
		s.must(s.submit("a@x", 60, 3))
		s.step()
		s.run()
		s.want("a@x", a, 60, 3)
		s.must(s.submit("a@x", 60, 3))
		s.run()
		if got := s.take("a@x"); got.usage.CachedTokens != (a.prefix+a.virtual+60)/32*32-a.prefix-a.virtual || got.usage.PromptTokens != 60 {
			t.Errorf("usage is %+v", got.usage)
		}
		s.must(s.submit("a@x", 60, 3))
		s.run()
		s.want("a@x", a, 60, 3)
		s.must(s.call("c@x", &call{Request{Prompt: prompt("c", 4), MaxTokens: 1, Logprobs: -1, PromptLogprobs: 0}, "x"})) // scored: not looked up
		s.run()
		if n := s.e.Snapshot(); n.LookedUpTokens != 180 || n.PromptTokens != 184 {
			t.Errorf("%d of %d tokens were looked up", n.LookedUpTokens, n.PromptTokens)
		}
		s.must(s.submit("b@x", 124, 1)) // fits the context but for the virtual tokens
		s.run()
		if got := s.take("b@x"); !errors.Is(got.err, ErrPrompt) || !strings.Contains(got.err.Error(), `"x"`) {
			t.Errorf("got %v", got.err)
		}
		s.empty()
	}
}

func TestRequestsThatCannotRun(t *testing.T) {
	s := newScript(t, Options{CacheBlocks: 4})
	for what, r := range map[string]Request{
		"empty":        {},
		"vocabulary":   {Prompt: []int32{64}, MaxTokens: 1},
		"negative":     {Prompt: []int32{-1}, MaxTokens: 1},
		"long":         {Prompt: prompt("a", 128), MaxTokens: 1},
		"long answer":  {Prompt: prompt("a", 100), MaxTokens: 29},
		"no room left": {Prompt: prompt("a", 128), MaxTokens: -1},
	} {
		if err := s.request("a", &r); !errors.Is(err, ErrPrompt) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if err := s.submit("a@nobody", 1, 1); !errors.Is(err, catalogue.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if err := s.submit("a@../../etc", 1, 1); !errors.Is(err, catalogue.ErrName) {
		t.Errorf("got %v", err)
	}
	s.empty()
	s.must(s.submit("a", 100, -1))
	s.run()
	s.want("a", nil, 100, 28)
	s.must(s.submit("b", 128, 0)) // the prompt alone
	s.run()
	if got := s.take("b"); got.finish != FinishLength || len(got.tokens) != 0 || got.usage.PromptTokens != 128 {
		t.Errorf("got %+v", got)
	}
	s.empty()
}

func TestQueueIsBounded(t *testing.T) {
	s := newScript(t, Options{Slots: 1, Queue: 20})
	s.must(s.submit("z", 1, 100))
	s.step()
	accepted := 0
	for s.submit("a", 1, 1) == nil {
		accepted++
	}
	if err := s.submit("a", 1, 1); !errors.Is(err, ErrQueueFull) || accepted != 20 {
		t.Fatalf("after %d: %v", accepted, err)
	}
	s.run()
	s.empty()
}

// TestFairness: vLLM#15422, SGLang#15129. A group with few requests does not
// wait behind one with many.
func TestFairness(t *testing.T) {
	s := newScript(t, Options{Slots: 1, Queue: 100})
	for range 30 {
		s.must(s.request("a", &Request{Prompt: prompt("a", 10), Group: "many", MaxTokens: 2}))
	}
	for range 4 {
		s.step()
	}
	for _, name := range []string{"b", "c", "d"} {
		s.must(s.request(name, &Request{Prompt: prompt(name, 10), Group: "few", MaxTokens: 2}))
	}
	var order []byte
	for range 20 {
		if w := s.step(); strings.Contains(w, "-") {
			order = append(order, w[0])
		}
	}
	if got := string(order); got != "bacadaaaaa" && got != "abacadaaaa" {
		t.Errorf("prompts began in the order %s", got)
	}
	s.run()
	s.empty()
}

func TestLongRequestsCountForMore(t *testing.T) {
	s := newScript(t, Options{Slots: 1, Queue: 200})
	for range 40 {
		s.must(s.request("a", &Request{Prompt: prompt("a", 30), Group: "long", MaxTokens: 10}))
		s.must(s.request("b", &Request{Prompt: prompt("b", 3), Group: "short", MaxTokens: 1}))
	}
	long, short := 0, 0
	for range 60 {
		w := s.step()
		long += strings.Count(w, "a0-") + strings.Count(w, "a2")
		short += strings.Count(w, "b0-")
	}
	if short < 8*max(long, 1)/2 {
		t.Errorf("%d short requests began beside %d long ones", short, long)
	}
	s.run()
	s.empty()
}

func TestCancellationFreesTheSlotWithinAStep(t *testing.T) {
	s := newScript(t, Options{Slots: 1, CacheBlocks: 8})
	s.adapters("x")
	ctx, cancel := context.WithCancel(context.Background())
	r := &call{Request{Prompt: prompt("a", 4), MaxTokens: 50}, "x"}
	running, err := r.submit(ctx, s.e, s.c)
	s.must(err)
	s.step()
	s.must(s.submit("b", 4, 1))
	waiting, err := r.submit(ctx, s.e, s.c)
	s.must(err)
	s.steps("a4")
	cancel()
	for s.e.running[0].gone.Load() == nil || !slices.ContainsFunc(s.e.queue.waiting, func(s *sequence) bool { return s.gone.Load() != nil }) {
		goruntime.Gosched() // the context's callbacks run in goroutines
	}
	s.steps("b0-3", "")
	for _, stream := range []*Stream{running, waiting} {
		if got := collect(context.Background(), stream); !errors.Is(got.err, context.Canceled) {
			t.Errorf("got %+v", got)
		}
	}
	s.must(s.submit("c", 4, 50))
	s.step()
	s.streams["c"].Close()
	s.steps("")
	if n := s.e.Snapshot(); n.Cancelled != 3 || n.Finished != 1 {
		t.Errorf("%+v", n)
	}
	s.empty()
}

// TestFaultsStayWithTheirSequence: vLLM#11727, SGLang#23141.
func TestFaultsStayWithTheirSequence(t *testing.T) {
	for fault, want := range map[string]error{"panic": ErrPanic, "nan": ErrNotFinite} {
		s := newScript(t, Options{Log: silent})
		s.loader.adapters = map[string]*fakeAdapter{"bad": {digest: "bad", fault: fault}}
		s.adapters("good", "bad", "other")
		for i, name := range []string{"a@good", "b@bad", "c", "d@other", "e@bad"} {
			s.must(s.submit(name, 5+i, 6))
		}
		s.step()
		s.must(s.submit("f", 40, 3)) // a prompt beside the rest
		s.run()
		for _, name := range []string{"b@bad", "e@bad"} {
			if got := s.take(name); !errors.Is(got.err, want) || !strings.Contains(got.err.Error(), `"bad"`) || len(got.tokens) > 0 {
				t.Errorf("%s: got %+v", name, got)
			}
		}
		s.want("a@good", &fakeAdapter{digest: "good"}, 5, 6)
		s.want("c", nil, 7, 6)
		s.want("d@other", &fakeAdapter{digest: "other"}, 8, 6)
		s.want("f", nil, 40, 3)
		if n := s.e.Snapshot(); n.Failed != 2 || n.Finished != 4 {
			t.Errorf("%+v", n)
		}
		s.empty()
	}
}

func TestColdAdapterHoldsUpNobody(t *testing.T) {
	s := newScript(t, Options{})
	gate := make(chan struct{})
	s.loader.gates = map[string]chan struct{}{"cold": gate}
	s.must(s.c.Add("cold", "fake://cold"))
	s.must(s.submit("a@cold", 3, 2))
	s.must(s.submit("b", 3, 2))
	s.steps("b0-2", "b3", "")
	if n := s.e.Snapshot(); n.Loading != 1 || n.Waiting != 1 || fmt.Sprint(n.WaitingAdapters) != "[cold]" {
		t.Errorf("%+v", n)
	}
	if e, err := s.c.Lookup("cold"); err != nil || e.State != catalogue.Loading {
		t.Errorf("%+v, %v", e, err)
	}
	close(gate)
	for e, _ := s.c.Lookup("cold"); e.State != catalogue.Resident; e, _ = s.c.Lookup("cold") {
		goruntime.Gosched()
	}
	s.steps("a0-2", "a3", "")
	s.want("a@cold", &fakeAdapter{digest: "cold"}, 3, 2)
	s.empty()
}

func TestUnloadWhileRunning(t *testing.T) { // vLLM#54839, #42633
	s := newScript(t, Options{})
	s.adapters("x")
	s.must(s.submit("a@x", 3, 5))
	s.step()
	s.must(s.c.Remove(context.Background(), "x", nil))
	if err := s.submit("b@x", 3, 5); !errors.Is(err, catalogue.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if list := s.c.List(); len(list) != 1 || list[0].State != catalogue.Draining || list[0].References != 1 {
		t.Errorf("%+v", list)
	}
	if used, _ := s.c.Bytes(); used != 100 {
		t.Errorf("%d bytes are held", used)
	}
	s.run()
	s.want("a@x", &fakeAdapter{digest: "x"}, 3, 5)
	if used, _ := s.c.Bytes(); used != 0 || len(s.c.List()) != 0 {
		t.Errorf("%d bytes are held: %+v", used, s.c.List())
	}
	s.empty()
}

func TestFinish(t *testing.T) {
	s := newScript(t, Options{})
	s.must(s.submit("a", 3, 4))
	s.run()
	tokens := s.take("a").tokens
	stop := &Request{Prompt: prompt("a", 3), MaxTokens: 4, StopIDs: []int32{tokens[2]}}
	s.must(s.request("a", stop))
	s.run()
	if got := s.take("a"); got.finish != FinishStop || len(got.tokens) != 3 {
		t.Errorf("%+v", got)
	}
	s.m.config.EOS = []int32{tokens[1]}
	eos := *stop
	s.must(s.request("a", &eos))
	s.run()
	if got := s.take("a"); got.finish != FinishEOS || len(got.tokens) != 2 || got.usage.CompletionTokens != 2 {
		t.Errorf("%+v", got)
	}
	eos.IgnoreEOS, eos.StopIDs = true, nil
	s.must(s.request("a", &eos))
	s.run()
	if got := s.take("a"); got.finish != FinishLength || !reflect.DeepEqual(got.tokens, tokens) {
		t.Errorf("%+v", got)
	}
	if _, err := s.streams["a"].Next(context.Background()); !errors.Is(err, ErrEnd) {
		t.Errorf("after the end: %v", err)
	}
	s.empty()
}

func TestPromptLogprobs(t *testing.T) {
	var want []PromptToken
	for _, o := range []Options{{}, {StepTokens: 7}, {StepTokens: 1}} {
		s := newScript(t, o)
		s.must(s.request("a", &Request{Prompt: prompt("a", 150), MaxTokens: 1, PromptLogprobs: 2}))
		s.run()
		got := s.take("a")
		if len(got.prompt) != 150 || got.prompt[0].Logprob.Logprob == got.prompt[0].Logprob.Logprob {
			t.Fatalf("%d prompt tokens, the first %+v", len(got.prompt), got.prompt[0])
		}
		for i, p := range got.prompt {
			if p.Token != prompt("a", 150)[i] || i > 0 && (len(p.Top) != 2 || p.Logprob.Logprob > p.Top[0].Logprob) {
				t.Fatalf("token %d: %+v", i, p)
			}
		}
		if want == nil {
			want = got.prompt[1:]
		} else if !reflect.DeepEqual(got.prompt[1:], want) {
			t.Errorf("%+v: other log-probabilities", o)
		}
		s.empty()
	}
}

func TestSteadyStepAllocatesNothing(t *testing.T) {
	s := newScript(t, Options{})
	s.adapters("x")
	s.must(s.submit("a", 3, 450))
	s.must(s.submit("b@x", 3, 450))
	s.m.before = nil
	model := s.e.model
	quietModel := &silentModel{Model: model}
	s.e.model = quietModel
	for range 200 { // past the growth of the streams
		s.step()
	}
	if n := testing.AllocsPerRun(150, func() { s.e.intake(); s.e.step() }); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
	s.e.model = model
	s.run()
}

// silentModel computes nothing.
type silentModel struct{ models.Model }

func (m *silentModel) Forward(p *models.Pass, b *models.Batch, c *models.Cache) *models.Value {
	return p.New(len(b.Out), 1)
}

func (m *silentModel) Head(p *models.Pass, b *models.Batch, from int, h *models.Value) *models.Value {
	logits := p.New(h.Rows(), 64)
	logits.Data.Zero()
	return logits
}

func TestOptionsReportEveryFault(t *testing.T) {
	err := Options{Slots: -1, Queue: -2, CacheBytes: 1, CacheBlocks: 1}.Validate()
	for _, want := range []string{"Slots", "Queue", "CacheBlocks"} {
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing in %v", want, err)
		}
	}
	m := newFakeModel()
	if _, err := newEngine(m, nil, kernels.NewPool(1), Options{CacheBytes: 10}); !errors.Is(err, ErrOptions) {
		t.Errorf("got %v", err)
	}
}
