package runtime

import (
	"math"
	"slices"
	"testing"
)

// TestNothingEndsBeforeItsTime: until an answer has its least length no token that
// would end it is chosen, and stop strings do not count.
func TestNothingEndsBeforeItsTime(t *testing.T) {
	logits := []float32{1, 2, 3, 9, 8}
	for _, sampling := range []Sampling{{}, {Temperature: 1, TopK: 1}, {Temperature: 1, TopP: math.SmallestNonzeroFloat32}} {
		s, err := newSampler(&Request{Sampling: sampling}, len(logits))
		if err != nil {
			t.Fatal(err)
		}
		s.least, s.ends = 2, []int32{3, 4, 100} // one that this vocabulary does not have
		var c choice
		for n, want := range []int32{2, 2, 3} {
			if got := s.choose(&c, logits, n); got != want {
				t.Errorf("%+v: token %d is %d, want %d", sampling, n, got, want)
			}
			if !slices.Equal(logits, []float32{1, 2, 3, 9, 8}) {
				t.Fatal("the logits were changed")
			}
		}
	}
	x := &text{decoder: pieces{"a", "b", "a", "b"}, stops: []string{"ab"}}
	var got string
	for i, stops := range []bool{false, false, true} {
		s, stopped := x.push(int32(i), stops)
		if got += s; stopped {
			t.Fatal("a stop string ends the text before its time")
		}
	}
	if s, stopped := x.push(3, true); !stopped || got+s != "ab" {
		t.Errorf("the text is %q, stopped %v", got+s, stopped)
	}
}

// TestRankOfAPromptsToken: one more than the tokens that are likelier.
func TestRankOfAPromptsToken(t *testing.T) {
	k := newScoring(&Request{Prompt: []int32{0, 2, 1}})
	for place, want := range []int{4, 2} {
		o := output{s: &sequence{tokens: []int32{0, 2, 1}}, kind: k, place: place}
		k.fill(&o, new(choice), []float32{5, 2, 1, 2})
		k.take(&o)
		if got := k.tokens[place+1].Rank; got != want {
			t.Errorf("rank %d, want %d", got, want)
		}
	}
	if k.tokens[0].Rank != 0 {
		t.Errorf("the first token has rank %d", k.tokens[0].Rank)
	}
}
