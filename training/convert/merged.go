package convert

import (
	"bytes"
	"fmt"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// A fused projection (GPT-2's c_attn computes query, key and value as one) has
// in loralib's MergedLinear, and so in AdapterHub, a low rank of its own for
// each part that is adapted: A is [n·r, in] and B [n·out/3, r], of which group
// g serves part parts[g]. In PEFT that is one rank of n·r whose B is zero
// outside the groups' blocks.

// spread turns grouped factors into PEFT's.
func spread(module string, a, b safetensors.Tensor, parts []int) (*adapters.Factors, error) {
	n := len(parts)
	if len(a.Shape) != 2 || len(b.Shape) != 2 || n == 0 || a.DType != b.DType || a.Shape[0] != n*b.Shape[1] || b.Shape[0]%n != 0 {
		return nil, fmt.Errorf("%w: %s has the factors %v and %v for %d parts", ErrTensor, module, a.Shape, b.Shape, n)
	}
	size, r, width := b.DType.Size(), b.Shape[1], b.Shape[0]/n
	whole := safetensors.Tensor{DType: b.DType, Shape: []int{3 * width, n * r}, Data: make([]byte, 3*width*n*r*size)}
	for g, part := range parts {
		for i := range width {
			copy(whole.Data[((part*width+i)*n*r+g*r)*size:], b.Data[(g*width+i)*r*size:][:r*size])
		}
	}
	return &adapters.Factors{Module: module, A: a, B: whole}, nil
}

// gather is spread turned round: it returns the grouped factors of rank r, with
// the parts that are adapted. A pair without that structure gets a copy of A
// for each part, which is the same sum.
func gather(p *adapters.Factors, r int) (a, b safetensors.Tensor, parts []int, compact bool) {
	size, all := p.B.DType.Size(), p.Rank()
	width := p.B.Shape[0] / 3
	if r > 0 && all%r == 0 && all/r <= 3 {
		if parts, ok := blocks(p.B, all/r, r, width); ok {
			b = safetensors.Tensor{DType: p.B.DType, Shape: []int{len(parts) * width, r}}
			for g, part := range parts {
				for i := range width {
					b.Data = append(b.Data, p.B.Data[((part*width+i)*all+g*r)*size:][:r*size]...)
				}
			}
			return p.A, b, parts, true
		}
	}
	a = safetensors.Tensor{DType: p.A.DType, Shape: []int{3 * all, p.A.Shape[1]}, Data: bytes.Repeat(p.A.Data, 3)}
	return a, p.B, []int{0, 1, 2}, false
}

// blocks finds, for n groups, the part that each serves; false where a column
// of a group reaches into two parts, or two groups serve one.
func blocks(b safetensors.Tensor, n, r, width int) ([]int, bool) {
	size := b.DType.Size()
	var parts []int
	for g := range n {
		serves := -1
		for part := range 3 {
			used := false
			for i := range width {
				row := b.Data[((part*width+i)*n*r+g*r)*size:][:r*size]
				used = used || !zero(row)
			}
			if used && serves >= 0 {
				return nil, false
			}
			if used {
				serves = part
			}
		}
		if serves < 0 || g > 0 && serves <= parts[g-1] {
			return nil, false
		}
		parts = append(parts, serves)
	}
	return parts, true
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
