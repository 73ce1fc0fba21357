package tokenizer

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Span is the part of a text, in bytes, that an id stands for.
type Span struct{ Start, End int }

// EncodeSpans is AppendEncode with the part of the text that each id stands
// for. Ids that share a character all span it. A special token that the text
// spells is as wide as it is spelled there; those that are put around the text
// have no width. exact is false where ids do not spell the text, as unknown
// tokens and normalizers have it: then spans are near the mark.
func (t *Tokenizer) EncodeSpans(ctx context.Context, text string, o Options) (ids []int32, spans []Span, exact bool, err error) {
	bare := o
	bare.AddSpecial = false
	if ids, err = t.AppendEncode(ctx, nil, text, bare); err != nil {
		return nil, nil, false, err
	}
	spans = make([]Span, len(ids))
	spelled, places := t.respelled(text)
	decoder, w := t.NewDecoder(false), walk{rest: spelled}
	unknown, hasUnknown := t.Role("unk_token")
	first := -1 // of the unknown ones before i
	for i, id := range ids {
		piece := decoder.Push(id)
		if hasUnknown && id == unknown {
			if first < 0 {
				first = i
			}
			w.lost += unknownBytes
			continue
		}
		at := w.at
		if spans[i] = w.take(piece); decoder.Incomplete() {
			spans[i].End += prefixOf(w.rest, 1)
		}
		if first >= 0 {
			divide(spans[first:i], spelled, at, spans[i].Start)
			first = -1
		}
	}
	if first >= 0 {
		divide(spans[first:], spelled, w.at, len(spelled))
		w.pass(len(w.rest))
		w.astray = true
	}
	exact = !w.astray && w.rest == "" && places == nil
	w.at = places.in(text, spans, w.at)
	if !o.AddSpecial {
		return ids, spans, exact, nil
	}
	before, after := t.single.ends()
	if o.Once {
		before, after = missing(ids, before, after)
	}
	ids = slices.Concat(before, ids, after)
	if o.Max > 0 && len(ids) > o.Max {
		return nil, nil, false, &TooLongError{Max: o.Max, Bytes: len(text)}
	}
	around := make([]Span, len(ids))
	copy(around[len(before):], spans)
	for i := len(ids) - len(after); i < len(ids); i++ {
		around[i] = Span{w.at, w.at}
	}
	return ids, around, exact, nil
}

// unknownBytes is how far from an unknown word the piece after it is looked for.
const unknownBytes = 64

// divide gives unknown words the part of the text that no piece stands for: each its
// own word, where there are as many, with punctuation and Chinese characters apart or
// not, and else all of it.
func divide(spans []Span, text string, start, end int) {
	words := strings.Fields(text[start:end])
	if len(words) != len(spans) {
		words = wordsApart(text[start:end])
	}
	if len(words) != len(spans) {
		for i := range spans {
			spans[i] = Span{start, end}
		}
		return
	}
	for i, word := range words {
		start += strings.Index(text[start:end], word)
		spans[i] = Span{start, start + len(word)}
		start += len(word)
	}
}

// wordsApart are the words of a text, of which each punctuation mark and each Chinese
// character is one.
func wordsApart(text string) (words []string) {
	for _, field := range strings.Fields(text) {
		start := 0
		for i, r := range field {
			if alone := !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) || unicode.Is(unicode.Han, r); !alone {
				continue
			}
			if start < i {
				words = append(words, field[start:i])
			}
			start = i + utf8.RuneLen(r)
			words = append(words, field[i:start])
		}
		if start < len(field) {
			words = append(words, field[start:])
		}
	}
	return words
}

// places are the bytes of a text that the bytes of another spelling of it, and its
// end, come from; nil: it is the text.
type places []int

// respelled is the text as normalizers spell it that do so by characters, as pieces
// have them: in lower case, without accents.
func (t *Tokenizer) respelled(text string) (string, places) {
	for _, n := range t.normalizers {
		if !n.byCharacter {
			return text, nil
		}
	}
	if len(t.normalizers) == 0 {
		return text, nil
	}
	var spelled strings.Builder
	var at places
	for i, r := range text {
		one, err := t.normalize(string(r), func() bool { return true })
		if err != nil {
			return text, nil
		}
		spelled.WriteString(one)
		for range len(one) {
			at = append(at, i)
		}
	}
	if spelled.String() == text {
		return text, nil
	}
	return spelled.String(), append(at, len(text))
}

// in turns spans of the other spelling, and a place in it, into those of the text. An
// end is that of the last character that is spanned.
func (p places) in(text string, spans []Span, at int) int {
	if p == nil {
		return at
	}
	for i, s := range spans {
		spans[i] = Span{p[s.Start], p[s.Start]}
		if s.End > s.Start {
			last := p[s.End-1]
			_, size := utf8.DecodeRuneInString(text[last:])
			spans[i].End = last + size
		}
	}
	return p[at]
}

// Around returns the special tokens that Encode puts around a text of these
// ids.
func (t *Tokenizer) Around(ids []int32) (before, after []int32) {
	before, after = t.single.ends()
	return missing(ids, before, after)
}

// walk goes through a text by the pieces that its tokens decode to. These are
// not always the text: a vocabulary may put a space before what follows a
// special token, a special token may take the white space beside it, and a
// normalizer may spell characters in another way.
type walk struct {
	rest string // of the text
	at   int    // where it begins
	lost int    // bytes of the pieces that were not found since one was

	astray bool // a piece was not where the last one ended
}

// take returns the span of the next piece.
func (w *walk) take(piece string) Span {
	skip, length := w.find(piece)
	if skip < 0 {
		w.lost += len(piece)
		skip, length = 0, prefixOf(w.rest, utf8.RuneCountInString(piece))
	} else if length > 0 {
		w.lost = 0
	}
	w.astray = w.astray || skip > 0 || w.lost > 0
	w.pass(skip)
	start := w.at
	w.pass(length)
	return Span{start, w.at}
}

// find returns where the piece is in the rest of the text, or near, and how
// many bytes it has there; at -1 it is not.
func (w *walk) find(piece string) (at, length int) {
	bare := strings.TrimPrefix(piece, " ")
	if w.lost == 0 && !strings.HasPrefix(w.rest, piece) && strings.HasPrefix(w.rest, bare) {
		return 0, len(bare)
	}
	near := w.rest[:min(len(w.rest), 16+4*min(w.lost, 64)+len(piece))]
	if at = strings.Index(near, piece); at >= 0 || bare == piece || bare == "" {
		return at, len(piece)
	}
	return wordAt(near, bare), len(bare)
}

// wordAt is where a word begins in a text, behind what is no letter; -1: nowhere.
func wordAt(text, word string) int {
	for from := 0; ; {
		at := strings.Index(text[from:], word)
		if at < 0 {
			return -1
		}
		at += from
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		first, size := utf8.DecodeRuneInString(word)
		if at == 0 || !unicode.IsLetter(before) || !unicode.IsLetter(first) {
			return at
		}
		from = at + size
	}
}

func (w *walk) pass(bytes int) {
	w.at += bytes
	w.rest = w.rest[bytes:]
}

// prefixOf is how many bytes the first characters of s have.
func prefixOf(s string, characters int) int {
	for at := range s {
		if characters == 0 {
			return at
		}
		characters--
	}
	return len(s)
}
