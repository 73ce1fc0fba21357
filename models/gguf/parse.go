package gguf

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// ErrInvalid is wrapped by every error about a file that breaks the format or
// uses what this package does not read of it.
var ErrInvalid = errors.New("not a readable GGUF file")

// The limits of ggml's own reader.
const (
	maxDims      = 4
	maxKey       = 1<<16 - 1 // bytes of a metadata key or a tensor's name
	maxAlignment = 1 << 20
)

const (
	defaultAlignment = 32
	keyAlignment     = "general.alignment"
)

// part is one parsed file.
type part struct {
	version   int
	alignment int
	keys      []string // in file order
	values    map[string]value
	tensors   []Tensor // in file order
}

func parse(b []byte) (*part, error) {
	c := &cursor{b: b}
	if magic := c.bytes(4); string(magic) != "GGUF" {
		c.fail("it does not begin with GGUF")
	}
	p := &part{alignment: defaultAlignment, values: map[string]value{}}
	version := c.u32()
	switch {
	case c.err != nil:
		return nil, c.err
	case version != 0 && version&0xffff == 0:
		return nil, fmt.Errorf("%w: it is big-endian; convert it to little-endian", ErrInvalid)
	case version != 2 && version != 3:
		return nil, fmt.Errorf("%w: version %d; 2 and 3 are read", ErrInvalid, version)
	}
	p.version = int(version)
	tensors, pairs := c.u64(), c.u64()
	p.readMetadata(c, pairs)
	p.readTensors(c, tensors)
	if c.err != nil {
		return nil, c.err
	}
	start := (c.at + p.alignment - 1) / p.alignment * p.alignment
	var body []byte // a file without tensors may end before the padding does
	if start <= len(b) {
		body = b[start:]
	}
	return p, place(p.tensors, body, uint64(p.alignment))
}

// readMetadata reads the claimed number of pairs and stops at the first fault,
// so that a false count costs nothing.
func (p *part) readMetadata(c *cursor, count uint64) {
	for range count {
		key := string(c.name("metadata key"))
		if _, ok := p.values[key]; ok {
			c.fail("metadata %q occurs twice", key)
		}
		v := c.value(kind(c.u32()))
		if c.err != nil {
			c.err = fmt.Errorf("metadata %q: %w", key, c.err)
			return
		}
		p.keys = append(p.keys, key)
		p.values[key] = v
	}
	v, ok := p.values[keyAlignment]
	if !ok {
		return
	}
	alignment, ok := decode(v, toInt)
	if !ok || v.array || alignment[0] <= 0 || alignment[0] > maxAlignment || bits.OnesCount(uint(alignment[0])) != 1 {
		c.fail("%s is not a power of two up to %d", keyAlignment, maxAlignment)
		return
	}
	p.alignment = alignment[0]
}

func (p *part) readTensors(c *cursor, count uint64) {
	seen := map[string]bool{}
	for range count {
		if c.err != nil {
			return
		}
		t := Tensor{Name: string(c.name("tensor name"))}
		n := c.u32()
		if n > maxDims {
			c.fail("%d dimensions", n)
		}
		for range min(n, maxDims) {
			dim := c.u64()
			if dim > math.MaxInt {
				c.fail("a dimension of %d", dim)
			}
			t.Dims = append(t.Dims, int(dim))
		}
		t.Type, t.Offset = Type(c.u32()), c.u64()
		if seen[t.Name] {
			c.fail("it occurs twice")
		}
		if c.err != nil {
			c.err = fmt.Errorf("tensor %q: %w", t.Name, c.err)
			return
		}
		seen[t.Name] = true
		p.tensors = append(p.tensors, t)
	}
}

// name reads a string that is not longer than maxKey.
func (c *cursor) name(what string) []byte {
	n := c.u64()
	if n > maxKey {
		c.fail("a %s of %d bytes", what, n)
	}
	return c.bytes(n)
}
