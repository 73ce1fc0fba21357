package kernels

import "testing"

// TestSplitOfManyThreads simulates the split of products over 8 to 128 threads: the
// parts cover all outputs once, begin with a cache line, and of a matrix of 4,096
// outputs, by one row or by many, every thread has a part, and none is
// larger than an even share by more than a unit, or a quarter of it.
func TestSplitOfManyThreads(t *testing.T) {
	for threads := 8; threads <= 128; threads++ {
		for _, rows := range []int{1, 8, 32, 512} {
			for _, outs := range []int{1, 17, 192, 576, 896, 1536, 4096, 4864, 151936} {
				for _, packed := range []bool{false, true} {
					s := splitOutputs(rows, outs, 4096, threads, packed)
					at, most := 0, 0
					for i := range s.parts {
						from, to := s.part(i)
						if from != at || to <= from || from%smallUnit != 0 && s.parts > 1 {
							t.Fatalf("%d threads, %d × %d: part %d of %d is [%d, %d) after %d", threads, rows, outs, i, s.parts, from, to, at)
						}
						at, most = to, max(most, to-from)
					}
					if at != outs {
						t.Fatalf("%d threads, %d × %d: parts end at %d", threads, rows, outs, at)
					}
					if outs < 4096 || packed {
						continue
					}
					// The last to begin ends last: rounds of the largest part, of which there may be several.
					rounds := (s.parts + threads - 1) / threads
					if rounds == 1 && s.parts != threads {
						t.Errorf("%d threads, %d × %d: %d parts", threads, rows, outs, s.parts)
					}
					if even := float64(outs) / float64(s.parts); float64(most) > even+smallUnit && s.unit == smallUnit || float64(most) > 1.25*even && s.unit == largeUnit {
						t.Errorf("%d threads, %d × %d: a part of %d where %.0f is even", threads, rows, outs, most, even)
					}
				}
			}
		}
	}
	if s := splitOutputs(1, 4096, 4096, 64, false); s.parts != 64 || s.unit != smallUnit {
		t.Errorf("one row by 4,096 outputs over 64 threads: %d parts in units of %d", s.parts, s.unit)
	}
	if s := splitOutputs(1, 576, 576, 64, false); s.parts > 9 {
		t.Errorf("a small product over 64 threads: %d parts", s.parts)
	}
}
