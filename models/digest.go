package models

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// digestRows bounds the rows of a matrix that Digest reads, so that it takes
// milliseconds of a large base too.
const digestRows = 16

// Digest tells bases apart by rows spread over every matrix and by every norm
// and bias, as they are stored: a quantised form of a base is another one. What
// adapters cannot act on, MPNet's biases by distance, is not looked at.
func Digest(m Model) string {
	h := sha256.New()
	write := func(b []byte) { _, _ = h.Write(b) } // a hash never fails
	matrix := func(w kernels.Weight) {
		n := min(digestRows, w.Rows)
		for i := range n {
			write(w.Row(i * (w.Rows - 1) / max(n-1, 1))) // the last one too
		}
	}
	var buffer []byte
	vector := func(v []float32) {
		buffer = buffer[:0]
		for _, x := range v {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(x))
		}
		write(buffer)
	}
	for _, s := range m.Sites() {
		if s.Open { // it is not the base's
			continue
		}
		write([]byte(s.Name))
		switch s.Kind {
		case LinearSite:
			matrix(s.Linear.W)
			vector(s.Linear.Bias)
		case EmbeddingSite:
			matrix(s.Embedding.W)
		case NormSite:
			vector(s.Norm.Weight)
			vector(s.Norm.Bias)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
