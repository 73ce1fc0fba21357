package models

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
)

// DeBERTa v2 and v3 (He et al., 2021): BERT with disentangled attention, in which
// content and relative position attend to each other; most have no positions in
// their input and no token types. The largest of v2 have a convolution beside their first
// block. DeBERTa v1 has other modules.

func init() {
	register(&Architecture{
		Class: "DebertaV2Model", ModelType: "deberta-v2", Tasks: []Task{Encode, Classify, Tag},
		Heads: []string{
			"DebertaV2ForMaskedLM", "DebertaV2ForSequenceClassification", "DebertaV2ForTokenClassification", "DebertaV2ForQuestionAnswering", "DebertaV2ForMultipleChoice",
		},
		Targets: map[string][]string{
			"LORA": {"query_proj", "value_proj"}, "ADALORA": {"query_proj", "key_proj", "value_proj", "dense"}, "IA3": {"key_proj", "value_proj", "output.dense"}, "BEFT": {"value_proj"},
		},
		Feedforward: []string{"output.dense"},
		heads:       encoderHeads("DebertaV2", headForm{dense: "pooler.dense", act: kernels.GELU, out: "classifier"}),
		config:      debertaConfig{}, build: newDeBERTa,
		check:  func(s *Source) error { _, err := readDeBERTa(s); return err },
		prefix: "deberta.", blocks: "deberta.encoder.layer.",
		strays:   []*regexp.Regexp{regexp.MustCompile(`^(deberta\.)?embeddings\.(position_ids|position_embeddings\.weight)$`)}, // the second where positions are no input
		headless: regexp.MustCompile(`^(pooler|classifier|cls|lm_predictions|mask_predictions|qa_outputs)\.`),
		inert: map[string]inert{
			"legacy": {why: ofTask}, "pooler_dropout": {why: ofDropout}, "pooler_hidden_size": {why: ofTooling}, "cls_dropout": {why: ofDropout},
			"pooler_hidden_act": {why: "gelu: of heads", only: []string{`"gelu"`}}, "tie_word_embeddings": {why: ofTask},
			"is_decoder": {why: "false: every token of a text sees all of it", only: []string{"false"}},
		},
	})
}

// debertaConfig is config.json as transformers writes it.
type debertaConfig struct {
	Vocab        int             `json:"vocab_size"`
	Hidden       int             `json:"hidden_size"`
	Intermediate int             `json:"intermediate_size"`
	Layers       int             `json:"num_hidden_layers"`
	Heads        int             `json:"num_attention_heads"`
	Positions    int             `json:"max_position_embeddings"`
	Types        int             `json:"type_vocab_size"`
	Activation   string          `json:"hidden_act"`
	Epsilon      float32         `json:"layer_norm_eps"`
	Relative     bool            `json:"relative_attention"`
	Farthest     int             `json:"max_relative_positions"`
	Buckets      int             `json:"position_buckets"`
	Attends      json.RawMessage `json:"pos_att_type" null:"unset"` // a list, or a text with | between its elements
	Shared       bool            `json:"share_att_key"`
	NormRelative string          `json:"norm_rel_ebd"`
	Input        bool            `json:"position_biased_input"`
	Convolution  int             `json:"conv_kernel_size"` // rows of the convolution beside the first block; 0: there is none
	ConvAct      string          `json:"conv_act"`
	ConvGroups   int             `json:"conv_groups"`
	Embedding    *int            `json:"embedding_size"`
	HeadSize     *int            `json:"attention_head_size"`

	toPosition, toContent bool // content attends to position, and position to content
	normed                bool
}

// maxConvolution bounds the width of the convolution.
const maxConvolution = 63

// readDeBERTa reads and checks the configuration.
func readDeBERTa(s *Source) (*debertaConfig, error) {
	c := &debertaConfig{
		Vocab: 128100, Hidden: 1536, Intermediate: 6144, Layers: 24, Heads: 24, Positions: 512, Activation: "gelu", Epsilon: 1e-7,
		Farthest: -1, Buckets: -1, NormRelative: "none", Input: true, ConvAct: "tanh", ConvGroups: 1,
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if c.Types < 0 || c.Types > maxSize {
		return nil, s.wrong("type_vocab_size is %d", c.Types)
	}
	if err := c.bert().check(s); err != nil {
		return nil, err
	}
	if c.Farthest < 1 {
		c.Farthest = c.Positions
	}
	switch {
	case !c.Relative:
		return nil, s.wrong("relative_attention is false, which is not implemented")
	case c.Farthest > maxSize || c.Buckets > maxSize:
		return nil, s.wrong("max_relative_positions and position_buckets are %d and %d", c.Farthest, c.Buckets)
	case c.Buckets > 0 && (c.Buckets < 4 || c.Farthest-1 <= c.Buckets/2):
		return nil, s.wrong("position_buckets %d are too many or too few for distances below %d", c.Buckets, c.Farthest)
	case c.Convolution > 0 && (c.Convolution%2 == 0 || c.Convolution > maxConvolution):
		return nil, s.wrong("conv_kernel_size is %d, which is not implemented (only odd ones up to %d)", c.Convolution, maxConvolution)
	case c.Convolution > 0 && c.ConvGroups != 1:
		return nil, s.wrong("conv_groups is %d, which is not implemented (only 1)", c.ConvGroups)
	case c.Embedding != nil && *c.Embedding != c.Hidden:
		return nil, s.wrong("embedding_size is %d: embeddings of another size than hidden_size are not implemented", *c.Embedding)
	case c.HeadSize != nil && *c.HeadSize != c.Hidden/c.Heads:
		return nil, s.wrong("attention_head_size is %d: heads of another size than hidden_size by num_attention_heads are not implemented", *c.HeadSize)
	}
	if _, known := kernels.ActivationByName(c.ConvAct); c.Convolution > 0 && !known {
		return nil, s.wrong("conv_act %q is not implemented", c.ConvAct)
	}
	for _, kind := range strings.Split(strings.ToLower(c.NormRelative), "|") {
		switch strings.TrimSpace(kind) {
		case "layer_norm":
			c.normed = true
		case "none", "":
		default:
			return nil, s.wrong("norm_rel_ebd %q is not implemented (only layer_norm)", c.NormRelative)
		}
	}
	return c, c.readAttends(s)
}

// readAttends reads pos_att_type.
func (c *debertaConfig) readAttends(s *Source) error {
	var list []string
	if raw := c.Attends; len(raw) > 0 && string(raw) != "null" {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			list = strings.Split(strings.ToLower(text), "|")
		} else if json.Unmarshal(raw, &list) != nil {
			return s.wrong("pos_att_type is neither a text nor a list of texts")
		}
	}
	for _, kind := range list {
		switch strings.TrimSpace(kind) {
		case "c2p":
			c.toPosition = true
		case "p2c":
			c.toContent = true
		default:
			return s.wrong("pos_att_type: %q is not implemented", kind)
		}
	}
	if !c.toPosition && !c.toContent {
		return s.wrong("pos_att_type is empty, which is not implemented")
	}
	return nil
}

// bert is the configuration of a BERT with those values.
func (c *debertaConfig) bert() *bertConfig {
	return &bertConfig{
		Vocab: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate, Layers: c.Layers, Heads: c.Heads, Positions: c.Positions, Types: max(c.Types, 1),
		Activation: c.Activation, Epsilon: c.Epsilon, PositionType: "absolute",
	}
}

// span is how many rows the embeddings of relative positions have of each direction.
func (c *debertaConfig) span() int {
	if c.Buckets > 0 {
		return c.Buckets
	}
	return c.Farthest
}

// row is the row of a distance, a query's position minus a key's, in the precision in
// which PyTorch computes it (make_log_bucket_position).
func (c *debertaConfig) row(distance int) int32 {
	if mid := c.Buckets / 2; c.Buckets > 0 && max(distance, -distance) > mid {
		ratio := float32(math.Log(float64(float32(max(distance, -distance))/float32(mid)))) / float32(math.Log(float64(float32(float64(c.Farthest-1)/float64(mid)))))
		far := int(math.Ceil(float64(ratio*float32(mid-1)))) + mid
		if distance < 0 {
			far = -far
		}
		distance = far
	}
	return int32(min(max(distance+c.span(), 0), 2*c.span()-1))
}

// debertaBlock are the names of the modules of a block.
var debertaBlock = func() blockNames {
	names := bertBlock
	names.q, names.k, names.v = "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"
	return names
}()

func newDeBERTa(s *Source, o Options) (Model, error) {
	c, err := readDeBERTa(s)
	if err != nil {
		return nil, err
	}
	act, _ := kernels.ActivationByName(c.Activation)
	m := &encoder{config: c.bert().shape(s.Architecture), padding: -1}
	m.config.Context, m.config.NoPrefix = o.context(c.Positions), true
	b := s.build(-1)
	m.words = b.embedding("deberta.embeddings.word_embeddings", c.Vocab, c.Hidden)
	if c.Input {
		m.positions = b.embedding("deberta.embeddings.position_embeddings", c.Positions, c.Hidden)
	}
	if c.Types > 0 {
		m.types = b.embedding("deberta.embeddings.token_type_embeddings", c.Types, c.Hidden)
	}
	m.norm = b.layerNorm("deberta.embeddings.LayerNorm", c.Hidden, c.Epsilon)
	terms := 1
	for _, on := range []bool{c.toPosition, c.toContent} {
		if on {
			terms++
		}
	}
	positions := &relativePositions{
		table: b.weight("deberta.encoder.rel_embeddings.weight", 2*c.span(), c.Hidden),
		shape: kernels.Disentangled{Heads: c.Heads, Scale: invSqrt(terms * m.config.HeadDim)},
	}
	if c.normed {
		positions.norm = b.layerNorm("deberta.encoder.LayerNorm", c.Hidden, c.Epsilon)
	}
	var beside *convolved // the first block
	if c.Convolution > 0 {
		act, _ := kernels.ActivationByName(c.ConvAct)
		beside = &convolved{convolution: &convolution{b.convolution("deberta.encoder.conv.conv", c.Hidden, c.Convolution), act}}
		beside.norm = b.layerNorm("deberta.encoder.conv.LayerNorm", c.Hidden, c.Epsilon)
	}
	for d := 1 - m.config.Context; d < m.config.Context; d++ {
		positions.shape.Index = append(positions.shape.Index, c.row(d))
	}
	for i := range c.Layers {
		b := s.build(i)
		block := b.postNorm(&m.config, &debertaBlock, act, c.Epsilon)
		block.relative = &disentangled{relativePositions: positions}
		keys, queries := block.k, block.q
		if !c.Shared {
			if c.toPosition {
				keys = b.linear("attention.self.pos_key_proj", c.Hidden, c.Hidden, with)
			}
			if c.toContent {
				queries = b.linear("attention.self.pos_query_proj", c.Hidden, c.Hidden, with)
			}
		}
		if c.toPosition {
			block.relative.keys = keys
		}
		if c.toContent {
			block.relative.queries = queries
		}
		if i == 0 && beside != nil {
			beside.postNorm = block
			m.blocks = append(m.blocks, beside)
			continue
		}
		m.blocks = append(m.blocks, block)
	}
	return m.finish(s)
}

// relativePositions are what all blocks have of relative positions. No adapter acts on
// the table: it is no site.
type relativePositions struct {
	table kernels.Weight // [positions, hidden]
	norm  *Norm          // nil: none
	shape kernels.Disentangled
}

// disentangled is what a block makes of them: keys and queries; nil: they have no part.
type disentangled struct {
	*relativePositions
	keys, queries *Linear
}

// relativeScratch is memory of a pass: the rows of the positions of each segment's
// longest text, and where each text has them.
type relativeScratch struct {
	rows     []int32
	segments []Segment
	texts    []kernels.PositionRows
}

// positions are the rows of relative positions that the texts of a batch need: for
// each segment, whose adapter may act on what is made of them, those of its longest.
func (r *relativePositions) positions(p *Pass, b *Batch) (*Value, relativeScratch) {
	s := &p.relative
	if p.recording {
		s = &relativeScratch{}
	}
	s.rows, s.segments, s.texts = s.rows[:0], s.segments[:0], s.texts[:0]
	next := 0
	for _, segment := range b.Segments {
		from, longest := next, 0
		for ; next < len(b.Spans) && b.Spans[next].Start < segment.End; next++ {
			longest = max(longest, b.Spans[next].End-b.Spans[next].Start)
		}
		center := len(r.shape.Index) / 2
		longest = min(longest, center+1) // a plan may ask for more than the context
		first, last := r.shape.Index[center-longest+1], r.shape.Index[center+longest-1]
		start := len(s.rows)
		for row := first; row <= last; row++ {
			s.rows = append(s.rows, row)
		}
		s.segments = append(s.segments, Segment{start, len(s.rows), segment.Adapter})
		for range next - from {
			s.texts = append(s.texts, kernels.PositionRows{Start: start, First: first})
		}
	}
	x := p.New(len(s.rows), r.table.Cols)
	p.Lookup(x.Data, r.table, s.rows)
	if r.norm != nil {
		x = r.norm.replace(p, s.segments, x)
	}
	return x, *s
}

// attend returns the attention of queries over keys and values.
func (d *disentangled) attend(p *Pass, b *Batch, q, k, v *Value) *Value {
	x, at := d.positions(p, b)
	var keys, queries *Value
	if d.keys != nil {
		keys = d.keys.Forward(p, at.segments, x)
	}
	if d.queries != nil {
		queries = d.queries.Forward(p, at.segments, x)
	}
	p.Free(x)
	positions := kernels.Positions{K: dataOf(keys), Q: dataOf(queries), Texts: at.texts}
	out := p.New(q.Rows(), q.Data.Cols)
	p.Disentangle(out.Data, q.Data, k.Data, v.Data, positions, b.Spans, d.shape)
	if p.recording {
		d.record(p, out, positions, slices.Clone(b.Spans), [...]*Value{q, k, v, keys, queries})
	}
	for _, made := range [...]*Value{keys, queries} {
		if made != nil {
			p.Free(made)
		}
	}
	return out
}

// record writes the gradient of out, the attention of query, key, value, and of keys
// and queries of positions, to the tape.
func (d *disentangled) record(p *Pass, out *Value, at kernels.Positions, spans []kernels.Span, of [5]*Value) {
	q, k, v, keys, queries := of[0], of[1], of[2], of[3], of[4]
	inputs := slices.DeleteFunc(of[:], func(v *Value) bool { return v == nil })
	gradient := func(v *Value) kernels.Matrix {
		if v == nil {
			return kernels.Matrix{}
		}
		return p.Grad(v)
	}
	if p.Tracks(out, false, inputs...) {
		p.OnBackward(out, func(dy kernels.Matrix) {
			gradients := kernels.Positions{K: gradient(keys), Q: gradient(queries), Texts: at.Texts}
			p.DisentangleGrad(p.Grad(q), p.Grad(k), p.Grad(v), gradients, dy, q.Data, k.Data, v.Data, at, spans, d.shape)
		}, inputs...)
	}
}

// dataOf is a Value's; empty where it is none.
func dataOf(v *Value) kernels.Matrix {
	if v == nil {
		return kernels.Matrix{}
	}
	return v.Data
}
