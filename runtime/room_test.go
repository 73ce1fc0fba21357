package runtime

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestRoomIsShared: whatever comes and goes, the room holds no more than it may;
// who is refused holds at least as much, by weight, as everybody else would with
// one less, and so does its group within the tenant; who loses a place held more
// than the one who takes it. All counts add up.
func TestRoomIsShared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots, places := rapid.IntRange(1, 4).Draw(t, "slots"), rapid.IntRange(1, 8).Draw(t, "places")
		r := newRoom(places, slots)
		type guest struct {
			place
			tenant, group string
		}
		weights := map[string]int{}
		for _, name := range []string{"a", "b", "c"} {
			weights[name] = rapid.IntRange(1, 3).Draw(t, "weight of "+name)
		}
		limit := rapid.IntRange(0, 4).Draw(t, "limit") // of a's waiting
		var waiting, running []*guest
		var lost *guest // of the last that entered
		counts := func(in []*guest, tenant, group string) (n int) {
			for _, g := range in {
				if g.tenant == tenant && (group == "" || g.group == group) {
					n++
				}
			}
			return n
		}
		drop := func(in []*guest, g *guest) []*guest {
			kept := []*guest{}
			for _, o := range in {
				if o != g {
					kept = append(kept, o)
				}
			}
			return kept
		}
		share := func(tenant string, more int) float64 {
			return float64(counts(waiting, tenant, "")+more) / float64(weights[tenant])
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				g := &guest{tenant: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant"), group: fmt.Sprint("g", rapid.IntRange(0, 3).Draw(t, "group"))}
				lost = nil
				g.displaced = func(error) {
					lost = g
					waiting = drop(waiting, g)
				}
				tenant := &Tenant{Name: g.tenant, Weight: weights[g.tenant]}
				if g.tenant == "a" {
					tenant.Waiting = limit
				}
				before := append([]*guest{}, waiting...)
				mine, own := share(g.tenant, 1), counts(waiting, g.tenant, g.group)+1
				err := r.enter(&g.place, partyOf(tenant, g.group, nil))
				for _, o := range before {
					if o.tenant != g.tenant && err != nil && tenant.Waiting == 0 && mine < share(o.tenant, 0) {
						t.Fatalf("%s was refused beside %s, which holds more: %v", g.tenant, o.tenant, err)
					}
					if o.tenant == g.tenant && err != nil && own < counts(before, o.tenant, o.group) {
						t.Fatalf("group %s was refused beside %s, which holds more: %v", g.group, o.group, err)
					}
				}
				if err == nil {
					waiting = append(waiting, g)
				}
				if lost != nil && lost.tenant != g.tenant && share(g.tenant, 0) >= share(lost.tenant, 1) {
					t.Fatalf("%s lost a place to %s, which held as much", lost.tenant, g.tenant)
				}
				if lost != nil && lost.tenant == g.tenant && lost.group != g.group && own > counts(waiting, lost.tenant, lost.group) {
					t.Fatalf("group %s lost a place to %s, which held as much", lost.group, g.group)
				}
			},
			"begin": func(t *rapid.T) {
				if len(waiting) == 0 || len(running) == slots {
					t.Skip()
				}
				g := rapid.SampledFrom(waiting).Draw(t, "who")
				r.begin(&g.place)
				waiting, running = drop(waiting, g), append(running, g)
			},
			"exit": func(t *rapid.T) {
				all := append(append([]*guest{}, waiting...), running...)
				if len(all) == 0 {
					t.Skip()
				}
				g := rapid.SampledFrom(all).Draw(t, "who")
				r.exit(&g.place)
				r.exit(&g.place) // does nothing
				waiting, running = drop(waiting, g), drop(running, g)
			},
			"": func(t *rapid.T) {
				if r.waiting != len(waiting) || r.running != len(running) || r.waiting > places+slots {
					t.Fatalf("%d wait and %d run, counted %d and %d", r.waiting, r.running, len(waiting), len(running))
				}
				for _, name := range []string{"a", "b", "c"} {
					h := r.tenants[partyOf(&Tenant{Name: name}, "", nil).tenant]
					n, m := counts(waiting, name, ""), counts(running, name, "")
					switch {
					case h == nil && n+m == 0:
					case h == nil || h.waiting != n || h.running != m || (len(h.groups) > 0) != (n > 0):
						t.Fatalf("%s has %d waiting and %d running, not %+v", name, n, m, h)
					}
				}
			},
		})
	})
}
