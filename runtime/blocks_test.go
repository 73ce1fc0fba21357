package runtime

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// TestBlocksKeepCount takes, labels, finds and drops blocks at random, with pages
// in common and without, and holds every count against one made anew.
func TestBlocksKeepCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers := rapid.IntRange(1, 4).Draw(t, "layers")
		b := newBlocks(rapid.IntRange(1, 6).Draw(t, "blocks"), layers)
		key := func(n int) (d digest) {
			binary.LittleEndian.PutUint32(d[:], uint32(n))
			return d
		}
		var held []int32 // with a reference each
		content := map[int32]int{}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				donor, shared := b.donor(key(rapid.IntRange(0, 5).Draw(t, "below")))
				shared = rapid.IntRange(0, shared).Draw(t, "shared")
				if donor == nobody {
					shared = 0
				}
				room := b.room(1, b.cost(donor, shared))
				block, ok := b.take(donor, shared)
				if room && !ok {
					t.Fatal("there was room")
				}
				if ok {
					held = append(held, block)
					delete(content, block)
				}
			},
			"label": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip()
				}
				block := held[rapid.IntRange(0, len(held)-1).Draw(t, "which")]
				if _, labelled := content[block]; labelled {
					t.Skip()
				}
				of := rapid.IntRange(0, 5).Draw(t, "key")
				content[block] = of
				if rapid.Bool().Draw(t, "own") {
					b.label(block, key(100+of), key(of), rapid.IntRange(0, layers-1).Draw(t, "shared"))
				} else {
					b.label(block, key(of), key(of), layers)
				}
			},
			"keep": func(t *rapid.T) {
				if block, ok := b.index[key(rapid.IntRange(0, 5).Draw(t, "key"))]; ok {
					b.keep(block)
					held = append(held, block)
				}
			},
			"drop": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				b.drop(held[i : i+1])
				held = append(held[:i], held[i+1:]...)
			},
			"": func(t *rapid.T) { counts(t, b, held) },
		})
	})
}

// counts makes the counts of b anew.
func counts(t *rapid.T, b *blocks, held []int32) {
	refs := make([]int32, len(b.refs))
	for _, block := range held {
		refs[block]++
	}
	vacant := map[int32]bool{}
	for _, block := range b.vacant {
		vacant[block] = true
	}
	holders, users, keyed := make([]int32, len(b.holders)), make([]int32, len(b.users)), 0
	for block := range b.refs {
		switch {
		case b.refs[block] != refs[block]:
			t.Fatalf("block %d has %d references, not %d", block, b.refs[block], refs[block])
		case vacant[int32(block)] && (refs[block] > 0 || b.marks[block].found):
			t.Fatalf("block %d is vacant and in use", block)
		case vacant[int32(block)]:
			continue
		case refs[block] == 0 && !b.marks[block].found:
			t.Fatalf("block %d is lost", block)
		case refs[block] == 0:
			keyed++
		}
		for _, of := range b.pages {
			holders[of[block]]++
			if refs[block] > 0 {
				users[of[block]]++
			}
		}
	}
	empty, unused := 0, 0
	for page := range holders {
		if holders[page] != b.holders[page] || users[page] != b.users[page] {
			t.Fatalf("page %d has %d holders and %d users, not %d and %d", page, b.holders[page], b.users[page], holders[page], users[page])
		}
		if holders[page] == 0 {
			empty++
		}
		if users[page] == 0 {
			unused++
		}
	}
	if keyed != b.keyed || empty != len(b.empty) || unused != b.unused {
		t.Fatalf("%d keyed, %d empty, %d unused, not %d, %d and %d", b.keyed, len(b.empty), b.unused, keyed, empty, unused)
	}
	for key, block := range b.lower {
		if m := b.marks[block]; !m.below || m.low != key || vacant[block] {
			t.Fatalf("block %d is found below, and is not", block)
		}
	}
}
