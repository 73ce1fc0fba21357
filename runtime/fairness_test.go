package runtime

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"

	"github.com/peft-serve/peft-serve/models"
)

// TestAttackersCostTheirShare: a victim that asks for one thing after another is
// held up, in steps of the engine, by attackers who each send a new request, of a
// new group, as soon as the last is answered: by no more than one if they are one
// tenant, by no more than their number if they are as many tenants, or groups of
// the victim's own.
func TestAttackersCostTheirShare(t *testing.T) {
	const attackers, rounds = 24, 12
	victim := &Tenant{Name: "victim"}
	cost := func(o Options, attackers int, tenant func(i int) *Tenant, prompts, completions int) int {
		s := newScript(t, o)
		n := 0
		ask := func(name string, who *Tenant, length, completion int) *Stream {
			n++
			p := prompt("a", length)
			p[0] = int32(n % 60) // nothing to be found in the prefix cache
			p[1] = int32(n / 60 % 60)
			group := name
			if name == "attacker" {
				group = fmt.Sprint(name, n)
			}
			stream, err := s.e.Submit(context.Background(), &Request{Prompt: p, Tenant: who, Group: group, MaxTokens: completion, Logprobs: -1, PromptLogprobs: -1})
			s.must(err)
			return stream
		}
		ended := func(stream *Stream) bool {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			for {
				if _, err := stream.Next(ctx); errors.Is(err, ErrEnd) {
					return true
				} else if err != nil {
					return false
				}
			}
		}
		others := make([]*Stream, attackers)
		refill := func() {
			for i, stream := range others {
				if stream == nil || ended(stream) {
					others[i] = ask("attacker", tenant(i), prompts, completions)
				}
			}
		}
		for range 50 {
			refill()
			s.step()
		}
		steps := 0
		for range rounds {
			mine := ask("victim", victim, 60, 10)
			for !ended(mine) {
				s.step()
				steps++
				refill()
			}
		}
		return steps
	}
	one := func(int) *Tenant { return &Tenant{Name: "attacker"} }
	same := func(int) *Tenant { return victim }
	many := func(i int) *Tenant { return &Tenant{Name: fmt.Sprint("attacker ", i)} }
	for _, slots := range []int{1, 2, 8, 24, 32} {
		o := Options{Slots: slots, StepTokens: 64, CacheBlocks: 512}
		alone := cost(o, 0, nil, 0, 0)
		for _, size := range [][2]int{{60, 10}, {200, 1}, {60, 3}, {5, 10}} {
			if slots < 8 && size[0] == 5 {
				continue // three of these are as many tokens as one of the victim's, in three times the steps
			}
			as1, as24 := cost(o, attackers, one, size[0], size[1]), cost(o, attackers, many, size[0], size[1])
			within := cost(o, attackers, same, size[0], size[1])
			if as1 > 2*alone || as24 > 25*alone || within > 25*alone {
				t.Errorf("%d slots, attackers that ask for %v tokens: %d steps alone, %d beside one tenant, %d beside %d, %d beside groups of its own",
					slots, size, alone, as1, as24, attackers, within)
			}
			t.Logf("%d slots, %v: %d, one %d, many %d, within %d", slots, size, alone, as1, as24, within)
		}
	}
}

// TestPromptsShareAStepByTenant: the tokens of a step go to tenants by weight and
// to their groups equally, however many prompts each has.
func TestPromptsShareAStepByTenant(t *testing.T) {
	s := newScript(t, Options{StepTokens: 60, CacheBlocks: 64, NoPrefixCache: true})
	ask := func(name, tenant string, weight int, group string, n int) {
		s.must(s.request(name, &Request{
			Prompt: prompt(name, n), Tenant: &Tenant{Name: tenant, Weight: weight}, Group: group, MaxTokens: 1, Logprobs: -1, PromptLogprobs: -1,
		}))
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		ask(name, "many", 1, name, 100)
	}
	ask("e", "heavy", 2, "", 100)
	ask("f", "grouped", 1, "one", 100)
	ask("g", "grouped", 1, "two", 100)
	ask("h", "grouped", 1, "two", 100)
	// A quarter of 60 is 15: 3.75 for each of the four, 7.5 for f, 3.75 for g and h.
	s.steps(
		"a0-3 b0-3 c0-3 d0-2 e0-29 f0-7 g0-3 h0-2",
		"a4-7 b4-7 c4-7 d3-5 e30-59 f8-15 g4-7 h3-5",
		"a8-11 b8-11 c8-11 d6-8 e60-89 f16-23 g8-11 h6-8",
		"a12-18 b12-17 c12-18 d9-13 e90-99 f24-36 g12-18 h9-13") // of what e leaves the others get the same shares
	s.run()
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		s.want(name, nil, 100, 1)
	}
	s.empty()
}

// TestQueueCannotBeFilled: when the queue is full, a tenant that holds less of it
// than another, by weight, takes a place from that one's newest request, which is
// told so at once; within a tenant a group does. Nobody takes one from who holds
// as little.
func TestQueueCannotBeFilled(t *testing.T) {
	s := newScript(t, Options{Slots: 1, Queue: 20, CacheBlocks: 64})
	s.must(s.submit("z", 1, 100))
	s.step()
	ask := func(name, tenant string, weight int, group string) error {
		return s.request(name, &Request{Prompt: prompt(name, 1), Tenant: &Tenant{Name: tenant, Weight: weight}, Group: group, MaxTokens: 1, Logprobs: -1, PromptLogprobs: -1})
	}
	for i := range 20 {
		s.must(ask(fmt.Sprint("big ", i), "big", 1, fmt.Sprint(i%2)))
	}
	if err := ask("big", "big", 1, "0"); !errors.Is(err, ErrQueueFull) || !strings.Contains(err.Error(), "20 requests wait, 20 of them of this tenant") {
		t.Errorf("got %v", err)
	}
	lost := func(name string) bool { // before any step
		got := s.take(name)
		if got.err != nil && !errors.Is(got.err, ErrQueueFull) {
			t.Errorf("%s: %v", name, got.err)
		}
		return got.err != nil
	}
	s.must(ask("small 0", "small", 1, ""))
	if !lost("big 19") && !lost("big 18") {
		t.Error("neither group's newest request has given its place")
	}
	for i := 1; i < 10; i++ {
		s.must(ask(fmt.Sprint("small ", i), "small", 1, ""))
	}
	for tenant, group := range map[string]string{"small": "", "big": "0"} {
		if err := ask("none", tenant, 1, group); !errors.Is(err, ErrQueueFull) {
			t.Errorf("%s: got %v", tenant, err)
		}
	}
	for i := range 20 {
		if got := lost(fmt.Sprint("big ", i)); got != (i >= 10) {
			t.Errorf("request %d has lost its place: %v", i, got)
		}
	}
	s.must(ask("heavy", "heavy", 18, "")) // its share is 18 of 20 places
	for i := range 17 {
		s.must(ask(fmt.Sprint("heavy ", i), "heavy", 18, ""))
	}
	if err := ask("none", "heavy", 18, ""); !errors.Is(err, ErrQueueFull) {
		t.Errorf("got %v", err)
	}
	if n := s.e.room.waiting; n != 20 {
		t.Errorf("%d wait", n)
	}
	s.run()
	for i := range 18 {
		if name := fmt.Sprint("heavy ", i); s.streams[name] != nil {
			s.want(name, nil, 1, 1)
		}
	}
	if n := s.e.Snapshot(); n.Failed != 28 || n.Cancelled != 0 {
		t.Errorf("%+v", n)
	}
	s.empty()
}

// TestWaitingIsLimited: a tenant has so many requests waiting, which others do not
// count for; what finds a slot at once does not wait, unless the tenant may not
// have it.
func TestWaitingIsLimited(t *testing.T) {
	for _, c := range []struct{ slots, running, waiting, fit int }{{1, 0, 3, 4}, {8, 0, 3, 11}, {8, 2, 3, 5}, {2, 8, 1, 3}} {
		s := newScript(t, Options{Slots: c.slots, CacheBlocks: 64})
		who := &Tenant{Name: "team", Running: c.running, Waiting: c.waiting}
		ask := func(tenant *Tenant, group string) error {
			return s.request("a", &Request{Prompt: prompt("a", 1), Tenant: tenant, Group: group, MaxTokens: 5, Logprobs: -1, PromptLogprobs: -1})
		}
		for range c.fit {
			if err := ask(who, "one"); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		}
		for range 3 { // before they run, and while they do
			var limit *LimitError
			if err := ask(who, "one"); !errors.As(err, &limit) || !errors.Is(err, ErrQueueFull) || *limit != (LimitError{"team", "waiting", c.waiting}) {
				t.Errorf("%+v: got %v", c, err)
			}
			s.step()
		}
		displaced := 0
		if c.waiting > 1 {
			s.must(ask(who, "two")) // in place of one of the first group
			displaced++
		}
		s.must(ask(&Tenant{Name: "other"}, ""))
		s.run()
		if n := s.e.Snapshot(); n.Failed != uint64(displaced) || n.Finished != uint64(c.fit+1) {
			t.Errorf("%+v: %+v", c, n)
		}
		s.empty()
	}
}

// TestAwaitHoldsAPlace: those who wait for their adapter before they make a request
// wait in the same room, and leave it.
func TestAwaitHoldsAPlace(t *testing.T) {
	s := newScript(t, Options{Slots: 1, Queue: 2, CacheBlocks: 64})
	gate := make(chan struct{})
	s.loader.gates = map[string]chan struct{}{"cold": gate}
	s.must(s.c.Add("cold", "fake://cold"))
	s.must(s.submit("z", 1, 100))
	s.step()
	lease, err := s.c.Acquire("cold", "")
	s.must(err)
	big := &Tenant{Name: "big"}
	ended := make(chan error, 3)
	await := func(ctx context.Context) { go func() { ended <- s.e.Await(ctx, lease, big, "") }() }
	until := func(n int) {
		for s.e.Snapshot().Loading != n {
			goruntime.Gosched()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	await(ctx)
	until(1)
	await(t.Context())
	until(2)
	if n := s.e.Snapshot(); n.Waiting != 2 {
		t.Errorf("%+v", n)
	}
	if err := s.e.Await(t.Context(), lease, big, ""); !errors.Is(err, ErrQueueFull) {
		t.Errorf("got %v", err)
	}
	s.must(s.submit("a", 1, 1)) // of another tenant
	if err := <-ended; !errors.Is(err, ErrQueueFull) {
		t.Errorf("got %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	await(t.Context())
	until(1)
	close(gate)
	s.must(<-ended)
	s.must(lease.Err())
	lease.Release()
	s.run()
	s.want("a", nil, 1, 1)
	s.empty()
	s.e.closing = true
	if err := s.e.Await(t.Context(), lease, nil, ""); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestRefusalsDoNotWaitForTheStep: while a step is under way, who is one too many
// is told so, and so is who loses a place.
func TestRefusalsDoNotWaitForTheStep(t *testing.T) {
	e, m, _ := live(t, &fakeLoader{}, Options{Slots: 1, Queue: 2, CacheBlocks: 64})
	inside, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.before = func(models.Batch) {
		once.Do(func() { close(inside) })
		<-gate
	}
	ask := func(tenant string) (*Stream, error) {
		return e.Submit(t.Context(), &Request{Prompt: []int32{1}, Tenant: &Tenant{Name: tenant, Waiting: 2}, MaxTokens: 1, Logprobs: -1, PromptLogprobs: -1})
	}
	var streams []*Stream
	must := func(stream *Stream, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream)
	}
	must(ask("big"))
	<-inside
	must(ask("big"))
	must(ask("big"))
	var limit *LimitError
	if _, err := ask("big"); !errors.As(err, &limit) {
		t.Errorf("got %v", err)
	}
	must(ask("small")) // in place of big's last
	if _, err := ask("small"); !errors.Is(err, ErrQueueFull) {
		t.Errorf("got %v", err)
	}
	if got := collect(t.Context(), streams[2]); !errors.Is(got.err, ErrQueueFull) {
		t.Errorf("got %+v", got)
	}
	close(gate)
	for i, stream := range streams {
		if got := collect(t.Context(), stream); i != 2 && got.err != nil {
			t.Errorf("request %d: %+v", i, got)
		}
	}
}
