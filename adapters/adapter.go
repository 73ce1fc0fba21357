package adapters

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Adapter is an adapter bound to a base model. It has no name: an adapter is
// known by its Digest.
type Adapter struct {
	config  *Config
	digest  string
	params  []*Param
	refresh []func()
	begin   []func() // once Start has drawn the parameters
	open    []func() // once the parameters have gradients
	derived int      // bytes computed from the parameters

	precision Precision // that a factor has been rounded to; AsStored: none has

	linears    []models.LinearDelta    // by site
	norms      []*models.Norm          // by site
	embeddings []models.EmbeddingDelta // by site
	inserts    []models.Insert         // by site
	prefixes   []prefix                // by layer
	prefix     *Param                  // what they are read from; nil: none
	virtual    int                     // tokens of prompt tuning
	invocation []int32                 // see Invocation
	shared     int                     // see SharedLayers
	vocabulary int
	classes    *models.Classes // see Classes

	text         *tokenizer.Tokenizer // nil: the base's
	ends         []int32
	chatTemplate chat.Source
	sampling     SamplingDefaults
}

var _ models.Adapter = (*Adapter)(nil)

// prefix is the keys and values before position 0 of one layer.
type prefix struct{ k, v kernels.Matrix }

// Linear implements models.Adapter. An adapter that was made for another class of the
// base's answers for no site of a head.
func (a *Adapter) Linear(site int) models.LinearDelta {
	if site >= len(a.linears) {
		return nil
	}
	return a.linears[site]
}

// Norm implements models.Adapter.
func (a *Adapter) Norm(site int) *models.Norm { return a.norms[site] }

// Embedding implements models.Adapter.
func (a *Adapter) Embedding(site int) models.EmbeddingDelta { return a.embeddings[site] }

// Sublayer implements models.Adapter.
func (a *Adapter) Sublayer(site int) models.Insert { return a.inserts[site] }

// Prefix implements models.Adapter.
func (a *Adapter) Prefix(layer int) (k, v kernels.Matrix) {
	if len(a.prefixes) == 0 {
		return k, v
	}
	return a.prefixes[layer].k, a.prefixes[layer].v
}

// PrefixTokens is the number of positions that Prefix fills: the sequence's
// first token has this position.
func (a *Adapter) PrefixTokens() int {
	if len(a.prefixes) == 0 {
		return 0
	}
	return a.prefixes[0].k.Rows
}

// VirtualTokens is the number n of virtual tokens of prompt tuning: tokens
// -1, -2, …, -n go before the sequence's first.
func (a *Adapter) VirtualTokens() int { return a.virtual }

// Invocation is the tokens from whose last place in a prompt on the adapter acts;
// what comes before is the base's. nil: it acts everywhere.
func (a *Adapter) Invocation() []int32 { return a.invocation }

// SharedLayers is the number of the lowest layers whose keys and values are the
// base's: all of them, where it acts on nothing that comes before the last.
func (a *Adapter) SharedLayers() int { return a.shared }

// Vocabulary is the number of tokens that the adapter's rows have: the base's,
// or that of the resized embeddings which it brings.
func (a *Adapter) Vocabulary() int { return a.vocabulary }

// Classes are what the head tells apart that the adapter brings; nil: it brings none.
func (a *Adapter) Classes() *models.Classes { return a.classes }

// Digest identifies the adapter's content: see Folder.Digest. It is empty for
// an adapter that has not been loaded from a folder.
func (a *Adapter) Digest() string { return a.digest }

// Precision is what its factors have been rounded to; AsStored where the file has
// none that is larger.
func (a *Adapter) Precision() Precision { return a.precision }

// Identity tells what the adapter computes from what another does: its Digest, and
// behind a dot the precision that its factors have been rounded to, if they have.
func (a *Adapter) Identity() string {
	if a.precision == AsStored {
		return a.digest
	}
	return a.digest + "." + a.precision.String()
}

// Method is the family: "lora", "dora", "ia3".
func (a *Adapter) Method() string { return a.config.Method.Name() }

// Rank is the largest rank, 0 where the family has none.
func (a *Adapter) Rank() int { return a.config.Method.Rank() }

// Config is the configuration the adapter was made from.
func (a *Adapter) Config() *Config { return a.config }

// BaseModel is the base that the configuration names.
func (a *Adapter) BaseModel() string { return a.config.Base }

// ChatTemplate is the templates that came with the adapter; zero: the base's.
func (a *Adapter) ChatTemplate() chat.Source { return a.chatTemplate }

// Tokenizer is the one that came with the adapter; nil: the base's.
func (a *Adapter) Tokenizer() *tokenizer.Tokenizer { return a.text }

// EndTokens are those that end the adapter's answers, beside the base's own.
func (a *Adapter) EndTokens() []int32 { return a.ends }

// Sampling is what its makers recommend, over what the base's do.
func (a *Adapter) Sampling() SamplingDefaults { return a.sampling }

// Params lists the parameters in the order of the model's sites.
func (a *Adapter) Params() []*Param { return a.params }

// Bytes is the memory that the adapter holds: its parameters in stored
// precision, what is derived from them, and a tokenizer of its own.
func (a *Adapter) Bytes() int {
	n := a.derived
	if a.text != nil {
		n += a.text.Bytes()
	}
	for _, p := range a.params {
		if p.replaces() {
			n += len(p.Weight.Data)
		}
		n += 4 * p.Grad.Rows * p.Grad.Cols
	}
	return n
}

// Refresh computes anew what is derived from the parameters: DoRA's gains,
// biases, norms and prefixes. The trainer calls it after each step.
func (a *Adapter) Refresh() {
	for _, f := range a.refresh {
		f()
	}
}
