package gguf

import (
	"encoding/binary"
	"fmt"
)

// cursor reads little-endian values from b. After the first read past the end
// err is set and everything read is zero.
type cursor struct {
	b   []byte
	at  int
	err error
}

// bytes returns the next n bytes, a view.
func (c *cursor) bytes(n uint64) []byte {
	if c.err == nil && n > uint64(len(c.b)-c.at) {
		c.fail("the file ends at %d, inside its header", len(c.b))
	}
	if c.err != nil {
		return nil
	}
	start := c.at
	c.at += int(n)
	return c.b[start:c.at:c.at]
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
}

func (c *cursor) u32() uint32 {
	if b := c.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// str returns the next string's bytes, a view.
func (c *cursor) str() []byte { return c.bytes(c.u64()) }
