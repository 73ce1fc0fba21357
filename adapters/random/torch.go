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

// twist makes the next 624 words of the state, which begin with those that it
// has made already.
func (g *Torch) twist() {
	const n, m = 624, 397
	s := &g.state
	for i := range n - m {
		s[i] = mix(s[i], s[i+1], s[i+m])
	}
	for i := n - m; i < n-1; i++ {
		s[i] = mix(s[i], s[i+1], s[i+m-n])
	}
	s[n-1] = mix(s[n-1], s[0], s[m-1])
	g.next = 0
}

func mix(upper, lower, far uint32) uint32 {
	y := upper&(1<<31) | lower&(1<<31-1)
	return far ^ y>>1 ^ -(y&1)&0x9908b0df
}

func temper(y uint32) uint32 {
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Uniform fills dst as torch.Tensor.uniform_(low, high) does (ATen,
// core/TransformationHelper.h, uniform_real).
func (g *Torch) Uniform(dst []float32, low, high float32) {
	from, span := float64(low), float64(high-low)
	for len(dst) > 0 {
		if g.next == len(g.state) {
			g.twist()
		}
		words := g.state[g.next:]
		words = words[:min(len(words), len(dst))]
		for i, y := range words {
			u := float64(int32(temper(y)&(1<<24-1))) * (1.0 / (1 << 24))
			dst[i] = float32(u*span + from)
		}
		g.next += len(words)
		dst = dst[len(words):]
	}
}
