package training

import (
	"math"
	"slices"
	"testing"
)

func TestPasses(t *testing.T) {
	for _, c := range []struct {
		before int
		sizes  []int
		want   []int
	}{
		{0, []int{10, 20, 30}, []int{3}},
		{0, []int{passRows, 1, passRows - 1, 1}, []int{1, 3, 4}},
		{0, []int{3 * passRows, 5, 5}, []int{1, 3}},
		{5, []int{passRows - 5, 1}, []int{1, 2}},
	} {
		if got := passes(len(c.sizes), c.before, func(i int) int { return c.sizes[i] }); !slices.Equal(got, c.want) {
			t.Errorf("%v after %d: passes end at %v, want %v", c.sizes, c.before, got, c.want)
		}
	}
}

// TestPassesAddUp demands the gradients of a micro-batch of several passes to
// be those of its sequences one by one.
func TestPassesAddUp(t *testing.T) {
	var run goldenRun
	readJSON(t, "../testdata/goldens/training/llama-gqa/full/run.json", &run)
	batch := synthetic(9, 40, 60)
	var single [][]Sequence
	for i := range batch {
		single = append(single, batch[i:i+1])
	}
	var gradients [2][]float32
	var losses [2]float64
	for i, micro := range [][][]Sequence{{batch}, single} {
		m := openGolden(t, "llama-gqa")
		f := Full(m)
		tr := goldenTrainer(t, m, f, &run, 2)
		f.Begin(0)
		r, err := tr.Gradients(micro)
		if err != nil {
			t.Fatal(err)
		}
		losses[i] = r.Loss
		for _, p := range f.Parameters() {
			gradients[i] = append(gradients[i], p.Grad...)
		}
	}
	if math.Abs(losses[0]-losses[1]) > 1e-9 {
		t.Errorf("losses %v", losses)
	}
	for k, g := range gradients[0] {
		if math.Abs(float64(g-gradients[1][k])) > 1e-6 {
			t.Fatalf("gradient %d is %v, one by one %v", k, g, gradients[1][k])
		}
	}
}
