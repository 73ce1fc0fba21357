package tokenizer

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
)

// Same reports whether two tokenizers do the same with every text and id, as
// far as that shows from what they are made of: a vocabulary of a GGUF file may
// be the same as that of a tokenizer.json. It is true only for those that do.
// The roles of tokens are not looked at: see SameRoles.
func (t *Tokenizer) Same(other *Tokenizer) bool {
	describe := func(t *Tokenizer) (all []string) {
		for _, n := range t.normalizers {
			all = append(all, n.what)
		}
		all = append(all, "")
		for _, s := range t.splitters {
			all = append(all, s.what())
		}
		return all
	}
	return slices.Equal(t.pieces, other.pieces) && slices.Equal(t.special, other.special) &&
		maps.Equal(t.ids, other.ids) &&
		slices.Equal(describe(t), describe(other)) &&
		t.raw.same(&other.raw) && t.normalized.same(&other.normalized) &&
		reflect.DeepEqual(t.single, other.single) && reflect.DeepEqual(t.pair, other.pair) &&
		t.decoding.same(&other.decoding, t.pieces) && sameModel(t.model, other.model)
}

// SameRoles reports whether the same tokens begin and end a text.
func (t *Tokenizer) SameRoles(other *Tokenizer) bool {
	for _, name := range []string{"bos_token", "eos_token"} {
		a, okA := t.Role(name)
		if b, okB := other.Role(name); okA != okB || a != b {
			return false
		}
	}
	return true
}

// same: the order in which tokens were added does not matter.
func (m *matcher) same(other *matcher) bool {
	sorted := func(m *matcher) []addedToken {
		tokens := slices.Clone(m.tokens)
		slices.SortFunc(tokens, func(a, b addedToken) int { return cmp.Compare(a.ID, b.ID) })
		return tokens
	}
	return slices.Equal(sorted(m), sorted(other))
}

func (d *decoding) same(other *decoding, pieces []string) bool {
	if !slices.Equal(d.texts, other.texts) || d.perByte != other.perByte || d.after != other.after ||
		d.strips != other.strips || d.strips > 0 && d.strip != other.strip {
		return false
	}
	for id, piece := range pieces {
		if d.first(int32(id), piece) != other.first(int32(id), piece) {
			return false
		}
	}
	return true
}

// first is the text of an id that begins a text.
func (d *decoding) first(id int32, piece string) string {
	if d.begin == nil {
		return d.texts[id]
	}
	return d.begin(piece)
}

func sameModel(a, b model) bool {
	switch a := a.(type) {
	case *bpe:
		b, ok := b.(*bpe)
		return ok && a.same(b)
	case *unigram:
		b, ok := b.(*unigram)
		return ok && maps.Equal(a.pieces, b.pieces) && slices.Equal(a.scores, b.scores) && a.unknown == b.unknown && a.fallback == b.fallback
	case *wordPiece:
		b, ok := b.(*wordPiece)
		return ok && maps.Equal(a.starts, b.starts) && maps.Equal(a.continues, b.continues) && a.unknown == b.unknown && a.maxRunes == b.maxRunes
	case *wordLevel:
		b, ok := b.(*wordLevel)
		return ok && maps.Equal(a.words, b.words) && a.unknown == b.unknown
	}
	return false
}

// same: what becomes of unknown characters does not matter where there are
// none, and ranks only in their order.
func (m *bpe) same(b *bpe) bool {
	if m.byteLevel != b.byteLevel || m.whole != b.whole || m.prefix != b.prefix || m.suffix != b.suffix ||
		m.bytes != b.bytes || !maps.Equal(m.pieces, b.pieces) || len(m.joins) != len(b.joins) {
		return false
	}
	covers := m.byteLevel && m.spansBytes()
	if !covers && (m.fallback != b.fallback || m.unknown != b.unknown || m.fuse != b.fuse) {
		return false
	}
	order := slices.SortedFunc(maps.Keys(m.joins), func(x, y pair) int { return cmp.Compare(m.joins[x].rank, m.joins[y].rank) })
	for i, p := range order {
		ours, theirs := m.joins[p], b.joins[p]
		if _, ok := b.joins[p]; !ok || ours.id != theirs.id {
			return false
		}
		if i > 0 && cmp.Compare(m.joins[order[i-1]].rank, ours.rank) != cmp.Compare(b.joins[order[i-1]].rank, theirs.rank) {
			return false
		}
	}
	return true
}

// Bytes is about the memory that the tokenizer holds.
func (t *Tokenizer) Bytes() int {
	const (
		piece = 160 // in lists and maps
		join  = 48
	)
	if t.shares {
		return 0
	}
	n := piece*len(t.pieces) + cacheSlots*8
	for id, p := range t.pieces {
		n += len(p) + len(t.decoding.texts[id])
	}
	if m, ok := t.model.(*bpe); ok {
		n += join * len(m.joins)
	}
	return n
}
