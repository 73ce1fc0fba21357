package runtime

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/peft-serve/peft-serve/kernels"
)

// The prefix cache finds the blocks of prompts that begin alike. The key of a
// block is the hash of everything its keys and values depend on: the adapter's
// content and all tokens up to the block's end. So a reload of an adapter
// under the same name never sees the old version's blocks, and since a row's
// result depends on nothing else (law 1), a found block holds the very bits
// that computing it again would give.

type digest [sha256.Size]byte

// prefixRoot is the key before the first block.
func prefixRoot(adapter string) digest { return sha256.Sum256([]byte(adapter)) }

// extend is the key of the block that holds tokens, after the block of key d.
func (d digest) extend(tokens []int32) digest {
	var text [sha256.Size + 4*kernels.BlockLen]byte
	copy(text[:], d[:])
	for i, t := range tokens[:kernels.BlockLen] {
		binary.LittleEndian.PutUint32(text[sha256.Size+4*i:], uint32(t))
	}
	return sha256.Sum256(text[:])
}

// find appends to held the blocks that already hold the beginning of tokens,
// with a reference each, and returns the key of the last. The last token is
// never among them: it has to be computed for its logits.
func (b *blocks) find(held []int32, key digest, tokens []int32) ([]int32, digest) {
	for n := kernels.BlockLen; n < len(tokens); n += kernels.BlockLen {
		next := key.extend(tokens[n-kernels.BlockLen : n])
		block, ok := b.index[next]
		if !ok {
			break
		}
		b.keep(block)
		held, key = append(held, block), next
	}
	return held, key
}
