package runtime

import "testing"

// Who asks in one scope finds nothing of another's, of the base or of adapters, in
// whole blocks or in the pages of lower layers; in its own it finds all of it, and
// the answers are the same everywhere.
func TestScopesShareNothing(t *testing.T) {
	for name, shared := range map[string]int{"": 0, "x": 0, "lower": 1, "head": 2} {
		m := newFakeModel()
		m.config.Layers = 2
		s := newScriptOf(t, m, Options{CacheBlocks: 40})
		var a *fakeAdapter
		if name != "" {
			a = &fakeAdapter{digest: name, bytes: 100, shared: shared}
			s.loader.adapters = map[string]*fakeAdapter{name: a}
			s.adapters(name)
		}
		ask := func(scope, adapter string) (cached, pages int) {
			t.Helper()
			before := len(s.e.blocks.empty)
			s.must(s.call("a", &call{Request{Prompt: prompt("a", 70), MaxTokens: 3, Logprobs: -1, PromptLogprobs: -1, Scope: scope}, adapter}))
			s.run()
			if adapter == "" {
				s.want("a", nil, 70, 3)
			} else {
				s.want("a", a, 70, 3)
			}
			n := s.e.Snapshot()
			return int(n.CachedTokens), before - len(s.e.blocks.empty)
		}
		total := 0
		found := func(scope, adapter string, cached, pages int) {
			t.Helper()
			sum, took := ask(scope, adapter)
			if sum-total != cached || took != pages {
				t.Errorf("%q in scope %q: %d tokens found and %d pages taken, not %d and %d", adapter, scope, sum-total, took, cached, pages)
			}
			total = sum
		}
		for _, scope := range []string{"", "one", "two", "one\x00"} {
			found(scope, "", 0, 4) // two whole blocks of two layers
			found(scope, "", 64, 0)
			switch name {
			case "":
			case "head": // its blocks are the base's
				found(scope, name, 64, 0)
			default:
				found(scope, name, 0, 2*(2-shared))
				found(scope, name, 64, 0)
			}
		}
		s.empty()
	}
}
