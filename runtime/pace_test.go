package runtime

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
)

// crowd is a script with so many answers under way, and a model whose attention is
// as much work as the rest of a row at so many keys.
func crowd(t *testing.T, share float64, answers int, depth float64) *script {
	t.Helper()
	m := newFakeModel()
	m.config.Context = 8192
	s := newScriptOf(t, m, Options{Slots: answers + 4, CacheBlocks: 4096, NoPrefixCache: true})
	s.e.pace = pace{share: share, depth: depth} // the model has no products that could be measured
	for i := range answers {
		s.must(s.submit(fmt.Sprintf("%c%d", 'a'+i%26, i), 2, 1000))
	}
	s.e.intake()
	s.e.step()
	return s
}

// TestLongPromptArrives has a prompt of 4,096 tokens arrive while 32 answers run:
// each of them gets a token in every step, and none of the steps is more than 1.5
// times the work of one without the prompt.
func TestLongPromptArrives(t *testing.T) {
	for _, depth := range []float64{math.Inf(1), 11000, 2000} {
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			s := crowd(t, 0.5, 32, depth)
			const length = 4096
			s.must(s.submit("z", length, 1))
			s.e.intake()
			rows := 0
			s.m.before = func(b models.Batch) { rows = b.Rows() }
			steps, left := 0, length
			for left > 0 {
				if !s.e.step() {
					t.Fatal("the engine rests before the prompt is read")
				}
				steps++
				if left -= rows - 32; left < 0 {
					t.Fatalf("%d rows in a step that has 32 answers and the end of a prompt", rows)
				}
				if rows <= 32 && left > 0 {
					t.Fatal("the prompt stands still")
				}
				for _, r := range s.e.running {
					if r.request.MaxTokens == 1000 && r.generation.done != steps+1 {
						t.Fatalf("an answer has %d tokens after %d steps", r.generation.done, steps+1)
					}
				}
			}
			stretch := s.e.Snapshot().Stretch
			t.Logf("%d steps, the longest %.3f times the usual", steps, stretch)
			if stretch > 1.5 || stretch < 1.3 {
				t.Errorf("a step was %v times the usual, want up to 1.5", stretch)
			}
		})
	}
}

// TestPace has prompts add 16 tokens at least, each for itself, and a step's worth
// where nobody waits for them or where any share is allowed.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		answers, prompts int
		share            float64
		want             int
	}{
		{0, 1, 0.5, 512}, {1, 1, 0.5, 16}, {1, 3, 0.5, 48}, {32, 1, 0.5, 18}, {32, 2, 0.5, 36}, {32, 1, 1, 36}, {32, 1, 0, 480}, {1, 1, 1000, 511},
	} {
		s := crowd(t, c.share, c.answers, math.Inf(1))
		for i := range c.prompts {
			s.must(s.submit(fmt.Sprintf("%c-prompt", 'k'+i), 2000, 1))
		}
		s.e.intake()
		var batch models.Batch
		s.m.before = func(b models.Batch) { batch = b }
		s.e.step()
		if got := batch.Rows() - c.answers; got != c.want {
			t.Errorf("%+v: %d rows of prompts", c, got)
		}
	}
}

// TestWorkOfRows: a row is as much work as it has keys, and no more of them than the
// window holds.
func TestWorkOfRows(t *testing.T) {
	for _, c := range []struct {
		window, computed, n int
		want                float64
	}{{0, 0, 1, 1.01}, {0, 199, 1, 3}, {0, 100, 99, 99 * 2.5}, {50, 199, 1, 1.5}, {50, 100, 99, 99 * 1.5}, {500, 199, 1, 3}} {
		p := pace{share: 1, depth: 100, window: c.window}
		if got := p.work(&sequence{computed: c.computed}, c.n); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestDepth asks a real model at how many keys attention is as much work as the rest:
// the tiny Llama has 64 columns, and so on; what is held is that it is the ratio of
// the two as its own pass counts them.
func TestDepth(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	c := g.m.Config()
	got := newPace(0.5, g.m).depth
	attention := float64(4 * c.Layers * c.Heads * c.HeadDim)
	perLayer := 2 * c.Hidden * ((c.Heads+2*c.KVHeads)*c.HeadDim + c.Heads*c.HeadDim + 3*c.Intermediate)
	if want := float64(c.Layers*perLayer) / attention; got != want {
		t.Errorf("attention of %v keys is as much as a row's products, want %v", got, want)
	}
	if err := (Options{PromptShare: -1}).Validate(); err == nil || !strings.Contains(err.Error(), "PromptShare is -1") {
		t.Errorf("a share of -1: %v", err)
	}
}
