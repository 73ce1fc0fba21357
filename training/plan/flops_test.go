package plan

import (
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// TestLectureFormulas holds the lecture's sums for an MLP d → p → q.
func TestLectureFormulas(t *testing.T) {
	d, p, q, r := 11, 7, 5, 3
	sum := func(first, second Matrix) (forward, backward float64) {
		return first.Forward() + second.Forward(), first.Backward() + second.Backward()
	}
	forward, backward := sum(Matrix{Out: p, In: d, Full: true}, Matrix{Out: q, In: p, Full: true, Input: true})
	if forward != float64(p*d+q*p) || backward != float64(p*d+2*p*q) {
		t.Errorf("full: %v forward, %v backward", forward, backward)
	}
	forward, backward = sum(Matrix{Out: p, In: d, Rank: r}, Matrix{Out: q, In: p, Rank: r, Input: true})
	if forward != float64(p*d+q*p+d*r+p*r+p*r+q*r) || backward != float64(3*(p*r+q*r)+2*(p*r+d*r)+p*q) {
		t.Errorf("LoRA: %v forward, %v backward", forward, backward)
	}
}

// TestLecture holds the example of the lecture: 58 GB for a model of 7 billion
// parameters.
func TestLecture(t *testing.T) {
	b, err := Open("llama-7b", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := b.Lecture(float64(b.Parameters()), 2, 2048)
	if l != (Lecture{14e9, 14e9, 28e9, 2e9}) || l.Total() != 58e9 {
		t.Errorf("%+v, %v in total", l, l.Total())
	}
}

// TestFLOPsOfModel holds the count over a whole model against sums of matrices:
// full fine-tuning needs twice the forward pass but for the input gradients of
// what reads the embedding, which is trained; a LoRA in the last block alone
// carries gradients from there on.
func TestFLOPsOfModel(t *testing.T) {
	b, err := Open("smollm2-135m", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	batch := Batch{Sequences: 2, Length: 100, Labels: 100}
	block := 2*576*576 + 2*192*576 + 3*576*1536
	full, err := b.Train(Choice{Method: "full"})
	if err != nil {
		t.Fatal(err)
	}
	f := full.FLOPs(batch)
	forward := 2.0 * 200 * float64(30*block+49152*576)
	attention := 2.0 * 2 * 200 * 50.5 * 576 * 30 // a row sees those before it and itself
	if f.Forward != forward || f.Backward != 2*forward || f.AttentionForward != attention || f.AttentionBackward != 2*attention {
		t.Errorf("full: %+v, want %v forward, %v in attention", f, forward, attention)
	}
	one := b.TrainBlocks([]int{29}, false)
	f = one.FLOPs(batch)
	last := 2.0 * 200 * float64(block)
	if f.Forward != forward || f.Backward != 2*last+2.0*200*49152*576 { // q, k, v too: their norm is trained
		t.Errorf("the last block: %v backward, want %v", f.Backward, 2*last+2.0*200*49152*576)
	}
	lora, err := b.Train(Choice{Method: "lora", Choice: adapters.Choice{R: 8}})
	if err != nil {
		t.Fatal(err)
	}
	f = lora.FLOPs(batch)
	low := 8.0 * float64(576+576+576+192)
	// B's gradient and that of the r rows between, A's and the input's: the
	// lecture's formula counts the rows between twice.
	lowest := 8.0 * (2*576 + 576 + 2*192 + 576)                   // without the input's
	want := 2.0 * 200 * (float64(29*block+49152*576) + 29*2*low + // every block but the lowest
		float64(576*576+3*576*1536) + lowest) // its o and MLP, and its factors' gradients
	if f.Backward != want {
		t.Errorf("LoRA: %v backward, want %v", f.Backward, want)
	}
}
