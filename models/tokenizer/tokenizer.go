package tokenizer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// A Tokenizer turns text into ids and ids into text. It is immutable and safe
// for concurrent use.
type Tokenizer struct {
	pieces  []string         // by id, as the file spells them; "" where no piece has the id
	ids     map[string]int32 // pieces and added tokens; an added token wins
	special []bool           // by id

	raw         matcher // added tokens of the text as it is
	normalized  matcher // added tokens of the normalized text
	normalizers []normalizer
	splitters   []splitter
	shrink      int // bytes of a text that may become one of its words; 0: any number
	longest     int // bytes of the longest added token
	model       model
	single      template
	pair        template
	decoding    decoding
	roles       map[string]int32 // "bos_token" and so on
	shares      bool             // the memory is another tokenizer's
}

// A model turns one word into ids.
type model interface {
	encode(dst []int32, word string, s *scratch) []int32
	// needed is how many bytes of a text surely become a part of some id, if it
	// is made into words that leave nothing out; no id stands for more than
	// longest.
	needed(text string) (bytes, longest int)
	// hide takes a special token out of the pieces that words are made of, so
	// that no plain text ever becomes one.
	hide(piece string)
}

// Options say how text is read.
type Options struct {
	// AddSpecial puts the special tokens around the text that the model
	// expects, such as [CLS] and [SEP] or a leading BOS.
	AddSpecial bool
	// Once leaves out those of AddSpecial that the text writes itself, at its
	// beginning or at its end.
	Once bool
	// Plain reads special tokens in the text as plain text. It is what
	// untrusted text wants: "<|im_end|>" in it closes nothing. Added tokens
	// that are not special are still found.
	Plain bool
	// Max is the most ids: a text of more is a TooLongError, found by its
	// length before anything else where that tells, and otherwise as soon as
	// they are too many. 0: any number.
	Max int
}

// Encode returns the ids of text. Special and added tokens in the text are
// found; addSpecial puts those around it that the model expects and that the
// text does not write itself: no BOS is doubled.
func (t *Tokenizer) Encode(text string, addSpecial bool) ([]int32, error) {
	return t.AppendEncode(context.Background(), nil, text, Options{AddSpecial: addSpecial, Once: true})
}

// EncodePlain returns the ids of untrusted text: what looks like a special
// token is plain text, and none is added.
func (t *Tokenizer) EncodePlain(text string) ([]int32, error) {
	return t.AppendEncode(context.Background(), nil, text, Options{Plain: true})
}

// AppendEncode appends the ids of text to dst. It fails with a TooLongError,
// with ErrStage where a stage of the tokenizer would make too much of the text,
// and soon after ctx has ended.
func (t *Tokenizer) AppendEncode(ctx context.Context, dst []int32, text string, o Options) ([]int32, error) {
	e := t.begin(ctx, dst, len(text), o.Max)
	defer e.release()
	var before, after []int32
	if o.AddSpecial {
		before, after = t.single.ends()
	}
	if !o.Once {
		e.add(before...)
	}
	start := len(e.ids)
	if o.Max > 0 && !e.least(start, t.AtLeast(text)) {
		return dst, e.err
	}
	e.text(text, o.Plain)
	if o.Once && e.err == nil {
		before, after = missing(e.ids[start:], before, after)
		e.ids = slices.Insert(e.ids, start, before...)
	}
	if e.add(after...); e.err != nil {
		return dst, e.err
	}
	return e.ids, nil
}

// AtLeast is how many ids a text has at least, as far as that shows without
// encoding it: none stands for more than the longest piece.
func (t *Tokenizer) AtLeast(text string) int {
	if t.shrink == 0 {
		return 0
	}
	bytes, longest := t.model.needed(text)
	if len(t.normalizers) > 0 {
		if bytes < len(text) {
			return 0
		}
		bytes /= t.shrink
	}
	return ceil(bytes, max(longest, t.longest))
}

func ceil(n, by int) int { return (n + by - 1) / by }

// EncodePair returns the ids of two texts with the special tokens that the
// model expects around and between them, and a token type for each id. It fails as
// AppendEncode does. AddSpecial and Once have no bearing: without the tokens between
// them two texts are one.
func (t *Tokenizer) EncodePair(ctx context.Context, first, second string, o Options) (ids, types []int32, err error) {
	e := t.begin(ctx, nil, len(first)+len(second), o.Max)
	defer e.release()
	texts := [2]string{first, second}
	for _, s := range t.pair {
		if len(s.ids) > 0 {
			e.add(s.ids...)
		} else {
			e.text(texts[s.text], o.Plain)
		}
		for len(types) < len(e.ids) {
			types = append(types, s.typeID)
		}
	}
	if e.err != nil {
		return nil, nil, e.err
	}
	return e.ids, types, nil
}

// JoinPair is EncodePair of the ids of two texts.
func (t *Tokenizer) JoinPair(first, second []int32) (ids, types []int32) {
	texts := [2][]int32{first, second}
	for _, s := range t.pair {
		if len(s.ids) > 0 {
			ids = append(ids, s.ids...)
		} else {
			ids = append(ids, texts[s.text]...)
		}
		for len(types) < len(ids) {
			types = append(types, s.typeID)
		}
	}
	return ids, types
}

// Decode returns the text of ids; skipSpecial leaves special tokens out. Ids
// outside the vocabulary are skipped.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	d := t.NewDecoder(skipSpecial)
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(d.Push(id))
	}
	b.WriteString(d.Flush())
	return b.String()
}

// VocabSize returns the number of ids: one more than the highest.
func (t *Tokenizer) VocabSize() int { return len(t.pieces) }

// Token returns the piece of id as the file spells it, "" if there is none.
func (t *Tokenizer) Token(id int32) string {
	if !t.known(id) {
		return ""
	}
	return t.pieces[id]
}

// TokenBytes returns the bytes that id adds to a text that has begun: "Ġthe"
// and "▁the" are " the", "<0x0A>" is a newline. They may be part of a
// character. A special token is its name.
func (t *Tokenizer) TokenBytes(id int32) []byte {
	if !t.known(id) {
		return nil
	}
	return []byte(t.decoding.texts[id])
}

// ID returns the id of a piece or added token.
func (t *Tokenizer) ID(token string) (id int32, ok bool) {
	id, ok = t.ids[token]
	return id, ok
}

// IsSpecial reports whether id is a special token.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.known(id) && t.special[id] }

// SpecialTokens returns the text of the special tokens in order of their ids.
func (t *Tokenizer) SpecialTokens() []string {
	var tokens []string
	for id, special := range t.special {
		if special {
			tokens = append(tokens, t.pieces[id])
		}
	}
	return tokens
}

// BOS returns the token that begins a text, if the files name one.
func (t *Tokenizer) BOS() (id int32, ok bool) { return t.Role("bos_token") }

// EOS returns the token that ends a text, if the files name one.
func (t *Tokenizer) EOS() (id int32, ok bool) { return t.Role("eos_token") }

// Role returns the token with a role named as in tokenizer_config.json:
// bos_token, eos_token, pad_token, unk_token, cls_token, sep_token, mask_token.
func (t *Tokenizer) Role(name string) (id int32, ok bool) {
	id, ok = t.roles[name]
	return id, ok
}

func (t *Tokenizer) known(id int32) bool { return id >= 0 && int(id) < len(t.pieces) }

// An encoding is one text on its way through the splitters to the model.
type encoding struct {
	t       *Tokenizer
	ids     []int32
	atStart bool // nothing of the text has been seen yet
	flow    int  // bytes that the splitters may still hand on
	scratch
}

var encodings = sync.Pool{New: func() any { return new(encoding) }}

// begin returns an encoding of a text of so many bytes that appends to ids, at
// most so many; 0: any number.
func (t *Tokenizer) begin(ctx context.Context, ids []int32, bytes, most int) *encoding {
	e := encodings.Get().(*encoding)
	e.t, e.ids, e.already = t, ids, len(ids)
	e.ctx, e.bytes, e.most = ctx, bytes, math.MaxInt
	if most > 0 {
		e.most = len(ids) + most
	}
	e.beat()
	return e
}

// release keeps the encoding's memory for another one.
func (e *encoding) release() {
	e.rest()
	e.t, e.ids = nil, nil
	encodings.Put(e)
}

// text appends the ids of one text alone, without a template.
func (e *encoding) text(text string, plain bool) {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	s := search{text: text, plain: plain, tick: e.tick}
	for e.err == nil {
		from, end := s.taken, len(text)
		f, ok := e.t.raw.next(&s)
		if ok {
			end = f.start
		}
		if end > from {
			e.section(text[from:end], from == 0, plain)
		}
		if !ok {
			return
		}
		e.add(f.id)
	}
}

// section encodes text that holds no added token but normalized ones.
func (e *encoding) section(text string, atStart, plain bool) {
	e.flow = (len(e.t.splitters) + 1) * grown(len(text))
	text, err := e.t.normalize(text, e.beat)
	if err != nil {
		e.fail(err)
		return
	}
	s := search{text: text, plain: plain, tick: e.tick}
	for e.err == nil {
		from, end := s.taken, len(text)
		f, ok := e.t.normalized.next(&s)
		if ok {
			end = f.start
		}
		if end > from {
			e.atStart = atStart && from == 0
			e.push(0, text[from:end])
		}
		if !ok {
			return
		}
		e.add(f.id)
	}
}

func (e *encoding) add(ids ...int32) {
	e.ids = append(e.ids, ids...)
	e.fits(len(e.ids))
}

func (e *encoding) fail(err error) {
	if e.err == nil {
		e.err = fmt.Errorf("%w: %w", ErrStage, err)
	}
}

// push hands a word to the splitter at level, or to the model after the last.
// It reports whether there is reason to go on.
func (e *encoding) push(level int, word string) bool {
	if e.flow -= len(word); e.flow < 0 {
		e.fail(fmt.Errorf("pre_tokenizer: %w", errGrows))
	}
	if !e.tick() {
		return false
	}
	if level < len(e.t.splitters) {
		e.t.splitters[level].split(word, e, level+1)
		return e.err == nil
	}
	if word != "" {
		e.ids = e.t.model.encode(e.ids, word, &e.scratch)
	}
	return e.fits(len(e.ids))
}
