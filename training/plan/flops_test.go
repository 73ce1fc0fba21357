package plan

import "testing"

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
	b, err := Open("llama-7b")
	if err != nil {
		t.Fatal(err)
	}
	l := b.Lecture(float64(b.Parameters()), 2, 2048)
	if l != (Lecture{14e9, 14e9, 28e9, 2e9}) || l.Total() != 58e9 {
		t.Errorf("%+v, %v in total", l, l.Total())
	}
}
