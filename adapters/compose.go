package adapters

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// ErrCompose: an adapter cannot be a part of that combination.
var ErrCompose = errors.New("adapters cannot be combined")

// Part is one adapter of a combination; what it adds counts Weight times.
type Part struct {
	Name    string // for errors
	Adapter *Adapter
	Weight  float64
}

// additive is a delta that adds to y something that does not depend on y, so
// that it can be weighted.
type additive interface {
	delta
	// times is f times the delta, on the same parameters.
	times(f float64) delta
}

// Compose returns the adapter that adds to the base what the parts add, each
// times its weight:
//
//	y = W·x + Σ w_i·s_i·B_i·A_i·x
//
// PEFT makes the same of LoRAs by concatenating their factors
// (add_weighted_adapter with "cat"); here the parameters stay the parts' own,
// and are applied part by part. A part of weight 0 adds nothing.
//
// A part that does anything but add is refused with ErrCompose. The tokenizer and
// the invocation tokens have to be the same for all. A chat template and sampling
// defaults come from the parts that bring some, which have to bring the same. The
// end tokens of each part end its answers. The order of the parts has no bearing.
func Compose(m models.Model, parts []Part) (*Adapter, error) {
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Adapter.digest, b.Adapter.digest), cmp.Compare(a.Weight, b.Weight))
	})
	sites := m.Sites()
	first := parts[0].Adapter
	a := &Adapter{
		config: &Config{Method: &composition{parts: parts}}, digest: digestOf(parts), vocabulary: m.Config().Vocabulary,
		invocation: first.invocation, shared: first.shared,
		linears: make([]models.LinearDelta, len(sites)), norms: make([]*models.Norm, len(sites)),
		embeddings: make([]models.EmbeddingDelta, len(sites)), inserts: make([]models.Insert, len(sites)),
	}
	for _, p := range parts {
		if err := p.adds(m); err != nil {
			return nil, err
		}
		if !slices.Equal(first.invocation, p.Adapter.invocation) {
			return nil, fmt.Errorf("%w: adapters %q and %q act from different places on: their alora_invocation_tokens differ", ErrCompose, parts[0].Name, p.Name)
		}
		a.shared = min(a.shared, p.Adapter.shared)
		a.precision = max(a.precision, p.Adapter.precision)
	}
	b := newBuilder(m, a.config)
	for site, s := range sites {
		switch s.Kind {
		case models.LinearSite:
			if d := sumLinear(parts, site, s.Linear); d.active() {
				a.linears[site] = d
				d.refresh(b)()
			}
		case models.EmbeddingSite:
			if d := sumEmbedding(parts, site, s.Embedding); d.active() {
				a.embeddings[site] = d
			}
		}
	}
	a.derived = b.derived
	return a, a.composeText(parts)
}

// digestOf identifies a combination by its parts' contents and weights.
func digestOf(parts []Part) string {
	text := []byte("peft-serve composition 1\n")
	for _, p := range parts {
		text = fmt.Appendf(text, "%s %s\n", p.Adapter.digest, strconv.FormatFloat(p.Weight, 'g', -1, 64))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// composition is the Method of a combination, which no configuration asks for.
type composition struct {
	Method // nil: nothing is built by it
	parts  []Part
}

func (c *composition) Name() string { return "composition" }

// Rank is that of the concatenated factors.
func (c *composition) Rank() (rank int) {
	for _, p := range c.parts {
		rank += p.Adapter.Rank()
	}
	return rank
}

// adds refuses a part that does anything but add to what the base computes.
func (p Part) adds(m models.Model) error {
	a := p.Adapter
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: adapter %q (%s) %s: a combination takes adapters that only add to the base's outputs, as LoRA does; name this one alone, without a weight",
			ErrCompose, p.Name, a.Method(), fmt.Sprintf(format, args...))
	}
	switch {
	case len(a.prefixes) > 0 || a.virtual > 0:
		return refuse("stands before the first token")
	case a.classes != nil:
		return refuse("has a head of its own")
	case a.vocabulary != m.Config().Vocabulary:
		return refuse("has a vocabulary of %d, and the base one of %d", a.vocabulary, m.Config().Vocabulary)
	}
	for site, s := range m.Sites() {
		switch {
		case a.norms[site] != nil:
			return refuse("has a norm of its own in the place of %s", s.Name)
		case a.inserts[site] != nil:
			return refuse("puts a layer of its own behind %s", s.Name)
		}
		does := ""
		if d := a.linears[site]; d != nil {
			does = linearOf(d).beyondAdding()
		}
		if d := a.embeddings[site]; d != nil {
			does = d.(*embedding).beyondAdding()
		}
		if does != "" {
			return refuse("%s %s", does, s.Name)
		}
	}
	return nil
}

// linearOf is all that an adapter does at a Linear.
func linearOf(d models.LinearDelta) *linear { return d.(interface{ whole() *linear }).whole() }

// beyondAdding says what d does that is no addition; empty: nothing.
func (d *linear) beyondAdding() string {
	switch {
	case d.weight.replaces():
		return "has a weight of its own in the place of"
	case d.own != nil:
		return "has a bias of its own in the place of that of"
	case d.factor != nil:
		return "multiplies the input of"
	}
	for _, c := range d.deltas {
		if _, ok := c.(additive); !ok {
			return "multiplies the output of"
		}
	}
	for _, term := range d.terms {
		if term.param == nil {
			return "multiplies the bias of"
		}
	}
	return ""
}

// beyondAdding says what d does that is no addition; empty: nothing.
func (d *embedding) beyondAdding() string {
	switch {
	case d.table.replaces():
		return "has a weight of its own in the place of"
	case d.tokens != nil:
		return "has rows of its own in"
	case d.virtual != nil:
		return "has virtual tokens in"
	case slices.ContainsFunc(d.low, func(l *embeddingLoRA) bool { return l.gain != nil }):
		return "multiplies the rows of"
	}
	return ""
}

// sumLinear is what the parts add at a Linear, in their order.
func sumLinear(parts []Part, site int, base *models.Linear) *linear {
	sum := &linear{base: base}
	for _, p := range parts {
		d := p.Adapter.linears[site]
		if d == nil || p.Weight == 0 {
			continue
		}
		for _, c := range linearOf(d).deltas {
			sum.deltas = append(sum.deltas, c.(additive).times(p.Weight))
		}
		for _, term := range linearOf(d).terms {
			sum.addTo(term.param, float32(float64(term.scale)*p.Weight))
		}
	}
	return sum
}

// sumEmbedding is what the parts add at an Embedding, in their order.
func sumEmbedding(parts []Part, site int, base *models.Embedding) *embedding {
	sum := &embedding{base: base}
	for _, p := range parts {
		d := p.Adapter.embeddings[site]
		if d == nil || p.Weight == 0 {
			continue
		}
		for _, low := range d.(*embedding).low {
			sum.low = append(sum.low, low.times(p.Weight))
		}
	}
	return sum
}

// composeText gives a combination its tokenizer, chat template, end tokens and
// sampling defaults.
func (a *Adapter) composeText(parts []Part) error {
	a.text = parts[0].Adapter.text
	for _, p := range parts[1:] {
		if own := p.Adapter.text; !sameTokenizer(a.text, own) {
			return fmt.Errorf("%w: adapters %q and %q have different tokenizers", ErrCompose, parts[0].Name, p.Name)
		}
	}
	template, err := agreed(parts, "chat templates", func(a *Adapter) (chat.Source, bool) { return a.chatTemplate, a.chatTemplate != chat.Source{} })
	if err != nil {
		return err
	}
	sampling, err := agreed(parts, "sampling defaults in "+generationFile, func(a *Adapter) (SamplingDefaults, bool) { return a.sampling, a.sampling != SamplingDefaults{} })
	if err != nil {
		return err
	}
	a.chatTemplate, a.sampling = template, sampling
	for _, p := range parts {
		a.ends = append(a.ends, p.Adapter.ends...)
	}
	slices.Sort(a.ends)
	a.ends = slices.Compact(a.ends)
	return nil
}

// sameTokenizer compares the tokenizers that two adapters bring; nil: the base's.
func sameTokenizer(a, b *tokenizer.Tokenizer) bool {
	return a == b || a != nil && b != nil && a.Same(b) && a.SameRoles(b)
}

// agreed is what those of the parts bring that bring one; it has to be the same.
func agreed[T any](parts []Part, what string, of func(*Adapter) (T, bool)) (value T, err error) {
	from := ""
	for _, p := range parts {
		own, brings := of(p.Adapter)
		switch {
		case !brings:
		case from == "":
			value, from = own, p.Name
		case !reflect.DeepEqual(own, value):
			return value, fmt.Errorf("%w: adapters %q and %q bring different %s: give them the same, or take them from one", ErrCompose, from, p.Name, what)
		}
	}
	return value, nil
}

var (
	_ additive = (*lowRank)(nil)
	_ additive = (*singular)(nil)
	_ additive = (*vectors)(nil)
	_ additive = (*blockSum)(nil)
)
