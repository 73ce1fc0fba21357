package runtime

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
)

// The prefix cache finds the blocks of prompts that begin alike. The key of a
// block is the hash of everything its keys and values depend on: all tokens up
// to the block's end, and the content of an adapter that acts on one of them. So
// a reload of an adapter under the same name never sees the old version's
// blocks, and since a row's result depends on nothing else (law 1), a found
// block holds the very bits that computing it again would give. An adapter that
// leaves the keys and values of some blocks as they are (aLoRA before its
// invocation, a head) shares those with the base and with every other that does;
// one that acts in the upper layers alone shares the pages of the lower ones. All
// of that holds within a scope: the keys of each grow from a root of its own.

type digest [sha256.Size]byte

// identity tells with whom a sequence shares, and what acts on it, from which
// position and which layer on.
type identity struct {
	root    digest // the key before the first block
	adapter string // its Identity
	from    int    // math.MaxInt: on no keys and values
	shared  int    // the lowest layers, on whose keys and values it never acts
}

// scopeRoot is the root of the keys of a scope.
type scopeRoot struct {
	scope string
	root  digest // zero: not known yet
}

// of makes r that of a scope, and returns the root.
func (r *scopeRoot) of(scope string) digest {
	if r.scope != scope || r.root == (digest{}) {
		once := sha256.Sum256([]byte(scope))
		*r = scopeRoot{scope, sha256.Sum256(once[:])} // of 32 bytes: no other key is, whatever the scope
	}
	return r.root
}

// identityOf is that of the sequence, in the scope of a root, of an adapter, which may be
// nil, that acts from a position on, on a base of so many layers.
func identityOf(root digest, a catalogue.Adapter, from, layers int) identity {
	if a == nil || a.SharedLayers() >= layers {
		return identity{root: root, from: math.MaxInt, shared: layers}
	}
	return identity{root, a.Identity(), from, a.SharedLayers()}
}

// next is the key of block n, which holds tokens, after that of the block
// before it.
func (id identity) next(key digest, n int, tokens []int32) digest {
	if n == id.from/kernels.BlockLen { // the first that the adapter acts on
		key = sha256.Sum256(append(key[:], id.adapter...))
	}
	return key.extend(tokens)
}

// below is the key of the lowest layers of the block that holds tokens, after
// that of the block before it.
func (id identity) below(low digest, tokens []int32) digest {
	if id.shared == 0 {
		return low
	}
	return low.extend(tokens)
}

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
// with a reference each, and returns the key of the last, if only the root. The last token is
// never among them: it has to be computed for its logits.
func (b *blocks) find(held []int32, id identity, tokens []int32) ([]int32, digest) {
	key := id.root
	for n := 0; (n+1)*kernels.BlockLen < len(tokens); n++ {
		next := id.next(key, n, tokens[n*kernels.BlockLen:])
		block, ok := b.index[next]
		if !ok {
			break
		}
		b.keep(block)
		held, key = append(held, block), next
	}
	return held, key
}
