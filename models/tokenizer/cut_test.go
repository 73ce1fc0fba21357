package tokenizer

import (
	"slices"
	"testing"
)

// The longer text loses as much as need be, as transformers' tokenizers have it.
func TestCutPair(t *testing.T) {
	for _, c := range []struct{ first, second, most, wantFirst, wantSecond int }{
		{3, 4, 10, 3, 4}, {3, 9, 10, 3, 7}, {9, 3, 10, 7, 3}, {9, 9, 10, 5, 5}, {9, 9, 11, 5, 6}, {20, 30, 11, 5, 6}, {30, 20, 11, 6, 5}, {3, 4, 0, 0, 0}, {5, 6, 10, 5, 5},
	} {
		first, second := CutPair(make([]int32, c.first), make([]int32, c.second), c.most, false)
		if len(first) != c.wantFirst || len(second) != c.wantSecond {
			t.Errorf("%+v: %d and %d", c, len(first), len(second))
		}
	}
	first, second := CutPair([]int32{1, 2, 3}, []int32{4, 5, 6}, 4, true)
	if !slices.Equal(first, []int32{2, 3}) || !slices.Equal(second, []int32{5, 6}) {
		t.Error(first, second)
	}
}
