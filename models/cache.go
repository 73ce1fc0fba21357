package models

import "github.com/peft-serve/peft-serve/kernels"

// Cache is the paged key-value cache of every layer: blocks of
// kernels.BlockLen positions that sequences hold by number.
type Cache struct {
	Layers []kernels.KV
	Blocks int
}

// NewCache allocates a cache of the given number of blocks.
func NewCache(c *Config, blocks int) *Cache {
	cache := &Cache{Layers: make([]kernels.KV, c.Layers), Blocks: blocks}
	for i := range cache.Layers {
		kv := kernels.KV{Heads: c.KVHeads, HeadDim: c.HeadDim}
		kv.K = make([]float32, blocks*kv.BlockSize())
		kv.V = make([]float32, blocks*kv.BlockSize())
		cache.Layers[i] = kv
	}
	return cache
}

// BlockBytes is the size of one block over all layers, in bytes.
func BlockBytes(c *Config) int {
	return c.Layers * 2 * 4 * c.KVHeads * c.HeadDim * kernels.BlockLen
}

// layer is the cache of one layer; while recording without a cache, when each
// sequence is computed whole, one that lives on the tape.
func (c *Cache) layer(p *Pass, config *Config, b *Batch, i int) (kernels.KV, *Value) {
	if c != nil {
		return c.Layers[i], nil
	}
	blocks := 0
	for _, s := range b.Spans {
		for _, n := range s.Blocks {
			blocks = max(blocks, int(n)+1)
		}
	}
	kv := kernels.KV{Heads: config.KVHeads, HeadDim: config.HeadDim}
	v := p.New(2, blocks*kv.BlockSize())
	v.Data.Zero()
	kv.K, kv.V = v.Data.Row(0), v.Data.Row(1)
	return kv, v
}

// storeTask writes the keys and values of a band of rows into a layer's cache.
type storeTask struct {
	kv    kernels.KV
	spans []kernels.Span
	k, v  kernels.Matrix
}

const storeRows = 16

func store(p *Pass, kv kernels.KV, spans []kernels.Span, k, v kernels.Matrix) {
	t := &p.stores
	t.kv, t.spans, t.k, t.v = kv, spans, k, v
	p.Pool.Run((k.Rows+storeRows-1)/storeRows, t)
}

func (t *storeTask) Part(_ *kernels.Worker, part int) {
	from, to := part*storeRows, min((part+1)*storeRows, t.k.Rows)
	for _, s := range t.spans {
		for r := max(from, s.Start); r < min(to, s.End); r++ {
			position := s.Position + r - s.Start
			t.kv.Store(s.Blocks[position/kernels.BlockLen], position, t.k.Row(r), t.v.Row(r))
		}
	}
}
