package runtime

import (
	"slices"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// An adapter's end tokens end its answers, beside the model's own and beside
// nobody else's.
func TestEndTokensOfAnAdapter(t *testing.T) {
	s := newScript(t, Options{})
	s.loader.adapters = map[string]*fakeAdapter{"x": {digest: "x"}, "ends": {digest: "x"}}
	s.adapters("x", "ends")
	answer := func(adapter string, ignore bool) answer {
		t.Helper()
		name := adapter + map[bool]string{true: " on"}[ignore]
		s.must(s.call(name, &call{Request{Prompt: prompt("a", 3), MaxTokens: 6, IgnoreEOS: ignore, Logprobs: -1, PromptLogprobs: -1}, adapter}))
		s.run()
		return s.take(name)
	}
	whole := answer("x", false).tokens
	if len(whole) != 6 || whole[0] == whole[1] {
		t.Fatalf("%v", whole)
	}
	s.loader.adapters["ends"].ends = []int32{62, whole[1]}
	if got := answer("ends", false); got.finish != FinishEOS || !slices.Equal(got.tokens, whole[:2]) {
		t.Errorf("%+v", got)
	}
	if got := answer("ends", true); got.finish != FinishLength || !slices.Equal(got.tokens, whole) {
		t.Errorf("%+v", got)
	}
	if got := answer("x", false); got.finish != FinishLength || !slices.Equal(got.tokens, whole) {
		t.Errorf("another adapter's: %+v", got)
	}
	s.m.config.EOS = []int32{whole[0]}
	if got := answer("ends", false); got.finish != FinishEOS || len(got.tokens) != 1 {
		t.Errorf("the model's own: %+v", got)
	}
	s.empty()
}

// A request is answered by the version that its lease is on, with that version's
// tokenizer and end tokens, though its name stands for another one by then.
func TestLeaseIsHeldTo(t *testing.T) {
	own, err := tokenizer.FromJSON([]byte(`{"decoder": {"type": "Fuse"}, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, Options{})
	s.e.decoder = func(bool) Decoder { return fixedDecoder("base") }
	s.loader.adapters = map[string]*fakeAdapter{"old": {digest: "old", bytes: 100, text: own}, "new": {digest: "new", bytes: 100}}
	s.must(s.c.Add("x", "fake://old"))
	lease, err := s.c.Acquire("x", "")
	s.must(err)
	s.must(lease.Wait(t.Context()))
	s.must(s.c.Replace("x", "fake://new"))
	if _, err := s.c.Load(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*call{
		"old":     {Request{Lease: lease, Prompt: prompt("a", 3), MaxTokens: 2, Logprobs: -1, PromptLogprobs: -1}, ""},
		"new":     {Request{Prompt: prompt("a", 3), MaxTokens: 2, Logprobs: -1, PromptLogprobs: -1}, "x"},
		"neither": {Request{Prompt: prompt("a", 3), MaxTokens: 2, Logprobs: -1, PromptLogprobs: -1}, ""},
	} {
		s.must(s.call(name, r))
	}
	lease.Release() // the engine has its own part in it
	s.run()
	for name, version := range map[string]string{"old": "old", "new": "new", "neither": ""} {
		got := s.take(name)
		if got.usage.AdapterDigest != version || (got.text == "basebase") != (name != "old") {
			t.Errorf("%s: version %q said %q", name, got.usage.AdapterDigest, got.text)
		}
	}
	s.empty()
}

// fixedDecoder says the same of each token.
type fixedDecoder string

func (d fixedDecoder) Push(int32) string { return string(d) }
func (fixedDecoder) Flush() string       { return "" }
func (fixedDecoder) Show([]int32)        {}
func (fixedDecoder) Continue()           {}

// What is told of a request's waiting counts from its arrival, which may be
// before Submit.
func TestQueuedCountsFromArrival(t *testing.T) {
	s := newScript(t, Options{})
	arrived := s.clock.Add(-5 * time.Second)
	s.must(s.request("a", &Request{Prompt: prompt("a", 2), Arrived: arrived, MaxTokens: 2, Logprobs: -1, PromptLogprobs: -1}))
	s.step()
	s.run()
	if u := s.take("a").usage; u.Queued != 5*time.Second || u.FirstToken != 5*time.Second || u.Total != 6*time.Second {
		t.Errorf("%+v", u)
	}
}

// A combination waits as the group of its adapters, whatever its weights, and is
// counted for each of them.
func TestCombinationsWaitAsTheirAdapters(t *testing.T) {
	s := newScript(t, Options{Slots: 1, Queue: 64})
	s.adapters("x", "y")
	s.must(s.submit("a@x:0.5,y:0.5", 3, 20))
	s.step()
	for _, name := range []string{"b@x:0.5,y:0.25", "c@y:1,x:2", "d@y:0.125,x:1", "e@x"} {
		s.must(s.submit(name, 3, 1))
	}
	s.step()
	now := s.e.Snapshot()
	if !slices.Equal(now.RunningAdapters, []string{"x", "y"}) || !slices.Equal(now.WaitingAdapters, []string{"x", "y"}) {
		t.Errorf("%v run and %v wait", now.RunningAdapters, now.WaitingAdapters)
	}
	groups := map[uint64]int{}
	for _, s := range s.e.queue.waiting {
		groups[s.party.group]++
	}
	if both, one := partyOf(nil, "x,y", nil), partyOf(nil, "x", nil); len(groups) != 2 || groups[both.group] != 3 || groups[one.group] != 1 {
		t.Errorf("the groups are %v", groups)
	}
	s.run()
	if got := s.take("b@x:0.5,y:0.25"); got.usage.AdapterDigest != "x:0.5,y:0.25" || !slices.Equal(got.usage.Adapters, []string{"x", "y"}) {
		t.Errorf("%+v", got.usage)
	}
	for _, name := range []string{"a@x:0.5,y:0.5", "c@y:1,x:2", "d@y:0.125,x:1", "e@x"} {
		s.take(name)
	}
	s.empty()
}

// A snapshot tells what each tenant has in the engine, and forgets those that
// have nothing.
func TestSnapshotByTenant(t *testing.T) {
	s := newScript(t, Options{Slots: 1})
	one, other := &Tenant{Name: "one"}, &Tenant{Name: "other"}
	for i, tenant := range []*Tenant{one, other, other, nil} {
		s.must(s.request(string(rune('a'+i)), &Request{Prompt: prompt("a", 2), Tenant: tenant, MaxTokens: 2, Logprobs: -1, PromptLogprobs: -1}))
	}
	s.step()
	if got, want := s.e.Snapshot().Tenants, []TenantCount{{"", 0, 1}, {"one", 1, 0}, {"other", 0, 2}}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	s.run()
	if got := s.e.Snapshot().Tenants; len(got) > 0 {
		t.Errorf("%v are left", got)
	}
}
