package runtime

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
)

// TestWindowGivesBlocksBack runs a base all of whose layers look back on 12
// positions: of a sequence of 120 the blocks of the window alone are held, two
// sequences fit where one did, and the bits are those of any company.
func TestWindowGivesBlocksBack(t *testing.T) {
	g := openGolden(t, "mistral")
	window := g.m.Config().Window
	if window != 12 {
		t.Fatalf("the base's window is %d, want 12", window)
	}
	ask := func(adapter string, first int32) *call {
		r := &call{Request{MaxTokens: 80, IgnoreEOS: true, Logprobs: 1, PromptLogprobs: -1}, adapter}
		for i := range int32(40) {
			r.Prompt = append(r.Prompt, (first+i*i*7)%int32(g.m.Config().Vocabulary))
		}
		return r
	}
	list := []*call{ask("", 3), ask("lora-all-linear", 3), ask("", 5), ask("", 3)}
	var alone []answer
	for _, r := range list {
		alone = append(alone, g.run(g.engine(1, Options{NoPrefixCache: true}), []*call{r}, nil)[0])
	}
	for _, o := range []Options{{}, {StepTokens: 7}, {CacheBlocks: 6}, {CacheBlocks: 6, NoPrefixCache: true, StepTokens: 20}} {
		e := g.engine(2, o)
		for i, a := range g.run(e, list, func(i int) int { return 2 * i }) {
			same(t, fmt.Sprintf("%+v, request %d", o, i), a, alone[i])
		}
	}
	for _, without := range []bool{false, true} {
		e := g.engine(1, Options{CacheBlocks: 5, NoPrefixCache: without}) // both would take 8
		var streams []*Stream
		for _, r := range list[2:] {
			s, err := r.submit(context.Background(), e, g.catalogue)
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, s)
		}
		most := (window+kernels.BlockLen-2)/kernels.BlockLen + 1 // blocks that a window touches
		for e.intake(); e.step(); {
			for _, s := range e.running {
				held := 0
				for _, b := range s.blocks {
					if b != nobody {
						held++
					}
				}
				if s.computed > len(s.request.Prompt) && held > most {
					t.Fatalf("%d blocks are held at %d positions, want %d at most", held, s.computed, most)
				}
			}
		}
		e.pool.Close()
		for i, s := range streams {
			same(t, fmt.Sprint("request ", i), collect(context.Background(), s), alone[i+2])
		}
		if n := e.Snapshot(); n.Preemptions > 0 || n.BlocksUsed > 0 {
			t.Errorf("%d preemptions, %d blocks held at the end", n.Preemptions, n.BlocksUsed)
		}
	}
}

// TestFirstBlocksStayLonger: of the blocks that one step has passed the last is the
// first to give way, for the first are those that more prompts begin with.
func TestFirstBlocksStayLonger(t *testing.T) {
	g := openGolden(t, "mistral")
	e := g.engine(1, Options{})
	defer e.pool.Close()
	s := &sequence{computed: 3*kernels.BlockLen + g.m.Config().Window}
	for n := range 4 {
		block, ok := e.blocks.take(nobody, 0)
		if !ok {
			t.Fatal("no block")
		}
		e.blocks.label(block, digest{byte(n + 1)}, digest{}, 0)
		s.blocks = append(s.blocks, block)
	}
	held := slices.Clone(s.blocks)
	e.giveBack(s)
	if s.passed != 3 || !slices.Equal(s.blocks, []int32{nobody, nobody, nobody, held[3]}) {
		t.Fatalf("%d passed, %v held of %v", s.passed, s.blocks, held)
	}
	var order []int32
	for b, end := e.blocks.next[len(e.blocks.refs)], int32(len(e.blocks.refs)); b != end; b = e.blocks.next[b] {
		order = append(order, b)
	}
	if want := []int32{held[2], held[1], held[0]}; !slices.Equal(order, want) {
		t.Errorf("they give way in the order %v, want %v", order, want)
	}
}
