package models

import (
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
)

// However many bands a step has, there are as many as threads if there are rows
// enough, and each row is in one of them.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		bands   []int // their rows
		threads int
		want    []int
	}{
		{[]int{8}, 1, []int{8}},
		{[]int{8}, 2, []int{4, 4}},
		{[]int{7}, 4, []int{2, 2, 2, 1}},
		{[]int{8}, 64, []int{1, 1, 1, 1, 1, 1, 1, 1}},
		{[]int{8, 1}, 3, []int{4, 1, 4}},
		{[]int{1, 1, 1}, 8, []int{1, 1, 1}},
		{[]int{64, 64}, 2, []int{64, 64}},
	} {
		var task deltaTask
		for i, rows := range c.bands {
			y := kernels.NewMatrix(rows, 1)
			for r := range rows {
				y.Row(r)[0] = float32(100*i + r)
			}
			task.bands = append(task.bands, band{x: kernels.NewMatrix(rows, 2), y: y})
		}
		task.spread(c.threads)
		var got []int
		seen := map[float32]bool{}
		for _, b := range task.bands {
			got = append(got, b.y.Rows)
			if b.x.Rows != b.y.Rows {
				t.Errorf("%v on %d threads: %d rows of x for %d of y", c.bands, c.threads, b.x.Rows, b.y.Rows)
			}
			for r := range b.y.Rows {
				seen[b.y.Row(r)[0]] = true
			}
		}
		rows := 0
		for _, n := range c.bands {
			rows += n
		}
		if !slices.Equal(got, c.want) || len(seen) != rows {
			t.Errorf("%v on %d threads: bands of %v with %d different rows, want %v", c.bands, c.threads, got, len(seen), c.want)
		}
	}
}
