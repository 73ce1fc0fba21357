package random

// Torch is PyTorch's generator of the CPU, torch.Generator().manual_seed(seed):
// the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), seeded with the
// lower 32 bits.
type Torch struct {
	state [624]uint32
	next  int
}

// NewTorch returns the generator of a seed.
func NewTorch(seed uint64) *Torch {
	g := &Torch{next: 624}
	g.state[0] = uint32(seed)
	for i := 1; i < len(g.state); i++ {
		last := g.state[i-1]
		g.state[i] = 1812433253*(last^last>>30) + uint32(i)
	}
	return g
}

// Uint32 is the next number.
func (g *Torch) Uint32() uint32 {
	if g.next == len(g.state) {
		for i := range g.state {
			y := g.state[i]&(1<<31) | g.state[(i+1)%624]&(1<<31-1)
			g.state[i] = g.state[(i+397)%624] ^ y>>1 ^ y&1*0x9908b0df
		}
		g.next = 0
	}
	y := g.state[g.next]
	g.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Uniform fills dst as torch.Tensor.uniform_(low, high) does (ATen,
// core/TransformationHelper.h, uniform_real).
func (g *Torch) Uniform(dst []float32, low, high float32) {
	for i := range dst {
		u := float64(g.Uint32()&(1<<24-1)) * (1.0 / (1 << 24))
		dst[i] = float32(u*float64(high-low) + float64(low))
	}
}
