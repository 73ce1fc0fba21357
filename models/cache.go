package models

import "github.com/peft-serve/peft-serve/kernels"

// Cache is the paged key-value cache of every layer: blocks of
// kernels.BlockLen positions that sequences hold by number.
type Cache struct {
	Layers []kernels.KV
	Blocks int
}

// NewCache allocates a cache of the given number of blocks, in float32.
func NewCache(c *Config, blocks int) *Cache {
	cache := &Cache{Layers: make([]kernels.KV, c.Layers), Blocks: blocks}
	for i := range cache.Layers {
		cache.Layers[i] = kernels.NewKV(kernels.F32, c.KVHeads, c.HeadDim, blocks)
	}
	return cache
}

// NewPagedCache allocates a cache in a format, whose layers share one memory of so
// many pages, a page being one block of one layer: pages tells, by layer, at which
// page each block lies.
func NewPagedCache(c *Config, f kernels.Format, n int, pages [][]int32) *Cache {
	all := kernels.NewKV(f, c.KVHeads, c.HeadDim, n)
	cache := &Cache{Layers: make([]kernels.KV, len(pages)), Blocks: len(pages[0])}
	for i, of := range pages {
		cache.Layers[i] = all
		cache.Layers[i].Pages = of
	}
	return cache
}

// BlockBytes is the size of one block over all layers in a format, in bytes.
func BlockBytes(c *Config, f kernels.Format) int {
	return c.Layers * 2 * kernels.KV{Heads: c.KVHeads, HeadDim: c.HeadDim, Format: f}.BlockBytes()
}

// layer is the cache of one layer; without a cache, when each sequence is computed
// whole, one that lives as long as the layer is computed or, while recording, on the
// tape.
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
	v := p.newOf(keyValue, 2, blocks*kernels.KV{Heads: config.KVHeads, HeadDim: config.HeadDim}.BlockSize())
	if p.recording { // the gradient sums over whole blocks
		p.Zero(v.Data)
	}
	return kernels.KVOf(v.Data, config.KVHeads, config.HeadDim), v
}
