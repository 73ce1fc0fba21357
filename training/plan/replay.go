package plan

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Batch is the size of a micro-batch.
type Batch struct {
	Sequences int
	Length    int // tokens of a sequence
	Labels    int // positions of a sequence that predict; 0: all but the last

	// Of a pass whose sequences differ in length, sums over all of them; 0:
	// the sequences are alike.
	Rows       int // positions up to the last that predicts
	Predicting int // positions that predict
	Blocks     int // of kernels.BlockLen positions, of keys and values
}

// PassRows bounds the positions that a trainer computes at once: beyond it a
// micro-batch is taken in several passes of whole sequences, whose gradients
// add up, so that the activations of one pass are all that is held. That many
// rows keep the products busy; more would only save the gradients of trained
// weights a trip through memory.
const PassRows = 256

// largestPass is the part of b that is computed at once.
func (b Batch) largestPass(before int) Batch {
	if b.Rows == 0 { // the sequences are alike
		b.Sequences = min(b.Sequences, max(1, PassRows/(b.computed()+before)))
	}
	return b
}

// rows is the number of positions that are computed: what follows the last
// that predicts is not. before counts the positions an adapter puts in front.
func (b Batch) rows(before int) int {
	if b.Rows > 0 {
		return b.Rows + b.Sequences*before
	}
	return b.Sequences * (b.computed() + before)
}

func (b Batch) computed() int {
	if b.Labels == 0 {
		return max(b.Length-1, 1)
	}
	return b.Length
}

func (b Batch) predicting() int {
	if b.Predicting > 0 {
		return b.Predicting
	}
	return b.Sequences * b.labels()
}

func (b Batch) blocks(before int) int {
	if b.Blocks > 0 {
		return b.Blocks
	}
	return b.Sequences * ((before + b.computed() + kernels.BlockLen - 1) / kernels.BlockLen)
}

func (b Batch) labels() int {
	if b.Labels == 0 {
		return max(b.Length-1, 1)
	}
	return min(b.Labels, b.Length)
}

// replay is one step of training on a tape: see models' architecture files,
// whose operations it follows one by one.
type replay struct {
	*tape
	t          *Trained
	base       *Base
	next       int // site
	rows       int // of the batch
	predicting int // of the rows
	kv         int // blocks of keys and values

	keys  float64 // that a query sees, on average
	flops FLOPs
}

// Activations replays the largest pass over a batch, forward, through the loss
// and backward, and returns its memory when that is largest. It is false for a base
// whose forward pass is not implemented.
func (t *Trained) Activations(batch Batch) (Live, bool) {
	if !t.base.shape.decoder {
		return Live{}, false
	}
	return t.step(batch.largestPass(t.virtual)).peak, true
}

// step replays one pass over a batch.
func (t *Trained) step(batch Batch) *replay {
	r := &replay{tape: &tape{}, t: t, base: t.base, rows: batch.rows(t.virtual)}
	r.kv = batch.blocks(t.prefix + t.virtual)
	r.keys = float64(r.rows)/float64(max(batch.Sequences, 1))/2 + float64(t.prefix)
	x := r.embed()
	r.predicting = batch.predicting()
	for i := range t.base.config.Layers {
		last := i == t.base.config.Layers-1
		if t.Recompute {
			x = r.recomputed(x, last)
		} else {
			x = r.block(x, last)
		}
	}
	h := r.norm(x)
	r.free(x)
	r.loss(h)
	r.free(h)
	r.unwind(0)
	return r
}

// site takes the next site, which must be of the given kind.
func (r *replay) site(kind models.SiteKind) (models.Site, *placed) {
	s := r.base.sites[r.next]
	at := r.t.at[r.next]
	if s.Kind != kind {
		panic("plan: the replay has lost its place at " + s.Name)
	}
	if at == nil {
		at = &placed{}
	}
	r.next++
	return s, at
}

func (r *replay) embed() *value {
	x := r.lookup()
	if r.base.shape.fused { // GPT-2's positions
		x = r.residual(r.lookup(), x, &placed{})
	}
	return x
}

func (r *replay) lookup() *value {
	s, at := r.site(models.EmbeddingSite)
	y := r.make(r.rows, s.Embedding.W.Cols)
	if r.tracks(y, at.weight || at.embedding) {
		r.onBackward(y, func() {})
	}
	return y
}

// recomputed is models.Pass.block: the tape keeps x alone.
func (r *replay) recomputed(x *value, last bool) *value {
	site, mark := r.next, len(r.operations)
	r.keep(x)
	y := r.block(x, last)
	r.discard(mark)
	if y.tracks {
		r.onBackward(y, func() {
			next, mark := r.next, len(r.operations)
			r.next = site
			r.keep(x)
			again := r.block(x, last)
			r.gradient(again)
			r.free(again)
			r.unwind(mark)
			r.next = next
		}, x)
	}
	r.free(x)
	return y
}

// block is a layer's forward; of the last only the rows that predict leave the
// attention.
func (r *replay) block(x *value, last bool) *value {
	c := &r.base.config
	h := r.norm(x)
	var out *value
	if r.base.shape.fused {
		qkv := r.linear(h)
		r.free(h)
		out = r.attend(c.Heads*c.HeadDim, qkv, qkv, qkv)
		r.free(qkv)
	} else {
		q, k, v := r.linear(h), r.linear(h), r.linear(h)
		r.free(h)
		output := r.next // stands before the norms of query and key
		if r.base.shape.queryNorm {
			r.next++
			q, k = r.perHead(q), r.perHead(k)
			r.next = output
		}
		q, k = r.rotate(q), r.rotate(k)
		out = r.attend(c.Heads*c.HeadDim, q, k, v)
		r.free(q, k, v)
	}
	if last {
		x, out = r.gather(x), r.gather(out)
	}
	y := r.linear(out)
	r.free(out)
	if r.base.shape.queryNorm {
		r.next += 2
	}
	_, at := r.site(models.SublayerSite)
	x = r.residual(x, y, at)

	h = r.norm(x)
	first := r.linear(h)
	var inner *value
	if r.base.shape.gated {
		second := r.linear(h)
		r.free(h)
		inner = r.gated(first, second)
	} else {
		r.free(h)
		inner = r.activated(first)
	}
	y = r.linear(inner)
	r.free(inner)
	_, at = r.site(models.SublayerSite)
	return r.residual(x, y, at)
}

// kvBlock is kernels.KV's BlockSize.
func kvBlock(c *models.Config) int { return c.KVHeads * c.HeadDim * kernels.BlockLen }

// gather is models.gather of the rows that predict.
func (r *replay) gather(x *value) *value {
	if r.predicting == x.rows {
		return x
	}
	y := r.make(r.predicting, x.cols)
	if r.tracks(y, false, x) {
		r.onBackward(y, func() { r.gradient(x) })
	}
	r.free(x)
	return y
}

// logitBytes bounds the logits that are held at once, unless that were fewer
// than minChunk rows: each chunk reads the whole head.
const (
	logitBytes = 32 << 20
	minChunk   = 64
)

// ChunkRows is the number of rows whose logits are computed at once, of a pass
// with the given number that predict: chunks are of like size.
func ChunkRows(rows, vocabulary int) int {
	most := max(minChunk, logitBytes/4/max(vocabulary, 1))
	chunks := max(1, (rows+most-1)/most)
	return (rows + chunks - 1) / chunks
}

func (r *replay) loss(h *value) {
	rows := ChunkRows(h.rows, r.base.config.Vocabulary)
	head := r.next
	for from := 0; from < h.rows; from += rows {
		to := min(from+rows, h.rows)
		mark := len(r.operations)
		part := h
		if from > 0 || to < h.rows {
			part = r.make(to-from, h.cols)
			if r.tracks(part, false, h) {
				r.onBackward(part, func() { r.gradient(h) })
			}
		}
		r.next, r.backward = head, true
		logits := r.linear(part)
		r.backward = false
		if part != h {
			r.free(part)
		}
		r.inPlace(logits)
		r.free(logits)
		r.unwind(mark)
	}
}
