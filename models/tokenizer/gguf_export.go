package tokenizer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A Values is metadata in memory, as FromGGUF asks for it and as a GGUF file
// holds it.
type Values map[string]any

func typed[T any](v Values, key string) (value T, ok bool) {
	value, ok = v[key].(T)
	return value, ok
}

// String implements Metadata.
func (v Values) String(key string) (string, bool) { return typed[string](v, key) }

// Strings implements Metadata.
func (v Values) Strings(key string) ([]string, bool) { return typed[[]string](v, key) }

// Int implements Metadata.
func (v Values) Int(key string) (int, bool) { return typed[int](v, key) }

// Ints implements Metadata.
func (v Values) Ints(key string) ([]int, bool) { return typed[[]int](v, key) }

// Floats implements Metadata.
func (v Values) Floats(key string) ([]float64, bool) { return typed[[]float64](v, key) }

// Bool implements Metadata.
func (v Values) Bool(key string) (bool, bool) { return typed[bool](v, key) }

// ErrGGUF reports a tokenizer that a GGUF file cannot say.
var ErrGGUF = errors.New("the tokenizer cannot be written as GGUF")

// GGUF is what a GGUF file says of a byte-level BPE, from which FromGGUF makes
// one that does the same with every text. It is an error where there is no such,
// as for encoders that join the texts of a pair.
func (t *Tokenizer) GGUF() (Values, error) {
	m, ok := t.model.(*bpe)
	if !ok || !m.byteLevel {
		return nil, fmt.Errorf("%w: it is no byte-level BPE", ErrGGUF)
	}
	v := Values{
		ggufPrefix + "model": "gpt2", ggufPrefix + "tokens": t.pieces, ggufPrefix + "token_type": t.ggufTypes(), ggufPrefix + "merges": t.ggufMerges(m),
	}
	for key, role := range ggufRoles {
		if id, ok := t.roles[role]; ok {
			v[ggufPrefix+key] = int(id)
		}
	}
	before, after := t.single.ends()
	v[ggufPrefix+"add_bos_token"], v[ggufPrefix+"add_eos_token"] = len(before) > 0, len(after) > 0
	for _, pre := range slices.SortedFunc(maps.Keys(ggufPre), byFame) {
		v[ggufPrefix+"pre"] = pre
		splitters, err := ggufPre[pre].splitters()
		if err != nil || ggufPre[pre].joined || !slices.EqualFunc(splitters, t.splitters, func(a, b splitter) bool { return a.what() == b.what() }) {
			continue
		}
		if own, err := fromGGUF(&ggufVocab{meta: v}); err == nil && t.Same(own) {
			return v, nil
		}
	}
	return nil, fmt.Errorf("%w: llama.cpp has no name for the way in which it splits texts, or for what it does beside that", ErrGGUF)
}

// byFame puts those names first that later models have taken over.
func byFame(a, b string) int {
	rank := func(pre string) int { return slices.Index([]string{"llama-bpe", "qwen2", "smollm", "gpt-2"}, pre) }
	return cmp.Or(cmp.Compare(rank(b), rank(a)), cmp.Compare(a, b))
}

func (t *Tokenizer) ggufTypes() []int {
	types := make([]int, len(t.pieces))
	for id := range types {
		types[id] = ggufNormal
	}
	for _, token := range slices.Concat(t.raw.tokens, t.normalized.tokens) {
		types[token.ID] = ggufUserDefined
		if token.Special {
			types[token.ID] = ggufControl
		}
	}
	return types
}

func (t *Tokenizer) ggufMerges(m *bpe) []string {
	ranked := slices.SortedFunc(maps.Keys(m.joins), func(x, y pair) int { return cmp.Compare(m.joins[x].rank, m.joins[y].rank) })
	merges := make([]string, len(ranked))
	for i, p := range ranked {
		merges[i] = t.pieces[p>>32] + " " + t.pieces[uint32(p)]
	}
	return merges
}
