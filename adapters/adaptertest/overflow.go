package adaptertest

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

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

// OverflowingRow is a copy of the adapter in dir that has a weight of Overflow in
// one row of the float32 tensor with a name that ends so.
func OverflowingRow(t *testing.T, dir, tensor string, row int) string {
	t.Helper()
	f := Suite{Dir: dir}.forgery(t)
	for _, x := range f.tensors {
		if strings.HasSuffix(x.Name, tensor) {
			binary.LittleEndian.PutUint32(x.Data[row*len(x.Data)/x.Shape[0]:], math.Float32bits(Overflow))
			return f.write(t)
		}
	}
	t.Fatalf("%s has no tensor %q", dir, tensor)
	return ""
}
