package adapters

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Trainable tokens: some rows of the embedding are the adapter's own (PEFT,
// tuners/trainable_tokens). On a base whose embeddings are tied, the output
// embedding has them too.

// tokenIndices is trainable_token_indices: tokens by module, in the order of
// the file; a bare list belongs to the input embedding, named "".
type tokenIndices []struct {
	module string
	tokens []int
}

func (s *settings) tokenIndices(key string) tokenIndices {
	raw := s.raw(key)
	if raw == nil || empty(raw) {
		return nil
	}
	if raw[0] == '[' {
		return tokenIndices{{tokens: elements[int](s, key, "a list of tokens")}}
	}
	members, err := parseObject(raw)
	if err != nil {
		s.fault(ErrConfig, "%s: %w", key, err)
		return nil
	}
	all := make(tokenIndices, len(members))
	for i, m := range members {
		all[i].module = m.key
		if all[i].tokens, err = listOf[int](m.value); err != nil {
			s.fault(ErrConfig, "%s: %q is %s, want a list of tokens", key, m.key, clip(m.value))
		}
	}
	return all
}

// tokenRow is a token and the row that holds its embedding.
type tokenRow struct {
	token int32
	row   int
}

func byToken(a tokenRow, token int32) int { return cmp.Compare(a.token, token) }

// tokenRows are rows [n, hidden] in the place of an embedding's.
type tokenRows struct {
	rows  *Param
	twin  *Param     // the same rows, where the file has them under the tied head's name too; nil: there is none
	order []tokenRow // by token

	columns []int32 // the tokens by row
}

// ownTokens declares the rows of trainable_token_indices.
func (b *Builder) ownTokens(indices tokenIndices, tie bool, adapted map[int]bool) error {
	lists := map[int][]int{}
	for _, entry := range indices {
		found := false
		for site, s := range b.Sites {
			whole := s.Kind == models.EmbeddingSite || s.Head
			if entry.module == "" && site != b.input() || !strings.HasSuffix(s.Name, entry.module) || !whole {
				continue
			}
			found = true
			if b.saved(site) || adapted[site] {
				return fmt.Errorf("%w: %q is in trainable_token_indices and adapted otherwise", ErrTarget, s.Name)
			}
			lists[site] = entry.tokens
		}
		if !found {
			return fmt.Errorf("%w: trainable_token_indices names %q, which is no embedding of the base", ErrTarget, entry.module)
		}
	}
	in, out := b.input(), b.tied(b.input())
	if out >= 0 && tie && lists[in] != nil && lists[out] != nil && !slices.Equal(lists[in], lists[out]) {
		return fmt.Errorf("%w: ensure_weight_tying with different trainable_token_indices for tied embeddings", ErrConfig)
	}
	if out >= 0 && lists[in] != nil && lists[out] == nil && (adapted[out] || b.saved(out)) {
		return fmt.Errorf("%w: %q shares its tokens with trainable_token_indices and is adapted otherwise", ErrTarget, b.Sites[out].Name)
	}
	return b.placeTokens(lists, ".token_adapter", "trainable_token_indices")
}

// placeTokens declares rows for the tokens of each site, under the name of what
// wraps the embedding. The output embedding shares those of the input embedding
// that it is tied to, unless it has others; a file may have them under both
// names. key is that of the configuration which lists them.
func (b *Builder) placeTokens(lists map[int][]int, wrapper, key string) error {
	suffix := wrapper + ".trainable_tokens_delta"
	in, out := b.input(), b.tied(b.input())
	shared := out >= 0 && lists[in] != nil && (lists[out] == nil || slices.Equal(lists[in], lists[out]))
	if shared {
		b.wrapped[out] = wrapper + baseLayer
	}
	for site := range b.Sites {
		list, ok := lists[site]
		if !ok || shared && site == out {
			continue
		}
		b.wrapped[site] = wrapper + baseLayer
		t, err := b.tokenRows(site, suffix, key, list)
		if err != nil {
			return err
		}
		b.placeRows(site, t)
		if shared && site == in {
			b.placeRows(out, t)
			t.twin = b.Module(out, suffix, t.rows.Shape...)
			t.twin.optional = true
		}
	}
	return nil
}

func (b *Builder) placeRows(site int, t *tokenRows) {
	if b.Sites[site].Kind == models.EmbeddingSite {
		b.embedding(site).tokens = t
		return
	}
	d := b.linear(site)
	d.deltas = append(d.deltas, t)
}

func (b *Builder) tokenRows(site int, suffix, key string, tokens []int) (*tokenRows, error) {
	s := b.Sites[site]
	var w kernels.Weight
	if s.Kind == models.EmbeddingSite {
		w = s.Embedding.W
	} else {
		w = s.Linear.W
	}
	t := &tokenRows{}
	start := kernels.NewMatrix(len(tokens), w.Cols)
	for i, token := range tokens {
		if token < 0 || token >= b.vocabulary {
			return nil, fmt.Errorf("%w: %s: token %d is outside the vocabulary of %d", ErrConfig, key, token, b.vocabulary)
		}
		t.order, t.columns = append(t.order, tokenRow{int32(token), i}), append(t.columns, int32(token))
		if token < w.Rows && !w.Empty() { // the base of a plan is empty
			decodeRow(start.Row(i), w, token)
		}
	}
	slices.SortFunc(t.order, func(a, b tokenRow) int { return cmp.Compare(a.token, b.token) })
	for i := range t.order {
		if i > 0 && t.order[i].token == t.order[i-1].token {
			return nil, fmt.Errorf("%w: %s: token %d occurs twice", ErrConfig, key, t.order[i].token)
		}
	}
	t.rows = b.Module(site, suffix, len(tokens), w.Cols).states(0, fmt.Sprintf("%d trainable tokens", len(tokens)), "%d rows")
	t.rows.base = kernels.WeightOf(start)
	return t, nil
}

// forward sets the logits of the tokens: y is [rows, vocabulary].
func (t *tokenRows) forward(o lane, x, y kernels.Matrix) {
	own := o.Take(x.Rows, t.rows.Weight.Rows)
	o.MatMul(own, x, t.rows.Weight)
	o.PutColumns(y, own, t.columns)
}

// record: the logits of the tokens are rows of the adapter's own.
func (t *tokenRows) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	t.forward(r, r.in(), r.out())
	r.Free(r.takes()...)
	return func(dy, dx kernels.Matrix) {
		own := r.New(dy.Rows, len(t.columns))
		r.TakeColumns(own.Data, dy, t.columns)
		r.WeightGrad(t.rows.Grad, own.Data, r.in())
		if !dx.Empty() {
			r.InputGrad(dx, own.Data, t.rows.Weight)
		}
		r.Free(own)
	}, []*models.Value{r.Keep(r.x)}
}

// fold: the rows of the tokens are the adapter's own.
func (t *tokenRows) fold() func(row []float64, j int) { return t.set }

// set puts the row of a token in place where the adapter has one.
func (t *tokenRows) set(row []float64, token int) {
	if i, ok := slices.BinarySearchFunc(t.order, int32(token), byToken); ok {
		wideRow(row, t.rows.Weight, t.order[i].row)
	}
}
