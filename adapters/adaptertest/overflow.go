package adaptertest

import "testing"

// Overflow is a weight that is finite and too large to compute with.
const Overflow = 3.4e38

// Overflowing is a copy of the adapter in dir of whose tensors each has a last
// weight of Overflow.
func Overflowing(t *testing.T, dir string) string {
	t.Helper()
	f := Suite{Dir: dir}.forgery(t)
	for i := range f.tensors {
		fill(&f.tensors[i], Overflow)
	}
	return f.write(t)
}
