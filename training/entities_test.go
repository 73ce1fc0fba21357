package training

import (
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// TestEntitiesOfTags: of tags as IOB2 has them whole entities are measured, text by
// text, and of other classes of words only which are right.
func TestEntitiesOfTags(t *testing.T) {
	o := &Objective{Head: &models.Head{Task: models.Tag}, Classes: 3, Names: []string{"O", "B-PER", "I-PER"}}
	j := &judged{labels: []int{1, 2, 0, 1}, chosen: []int{1, 2, 0, 0}}
	text := func(targets ...int32) Sequence { return Sequence{Targets: targets} }
	j.tagged([]Sequence{text(dataset.None, 1, 2, dataset.None), text(0, 1)}, o.Names)
	got := map[string]float64{}
	for _, m := range headMetrics(o) {
		got[m.name] = m.of(j)
	}
	if got["f1"] != 2.0/3 || got["accuracy"] != 0.75 || headMetrics(o)[0].name != "f1" {
		t.Errorf("%v", got)
	}
	o.Names = []string{"NOUN", "VERB", "X"}
	if m := headMetrics(o); len(m) != 1 || m[0].name != "accuracy" {
		t.Errorf("%v", m)
	}
}
