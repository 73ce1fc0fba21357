package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// decoding is what a vocabulary's ids mean as text.
type decoding struct {
	texts []string // by id: the bytes in the middle of a text
	begin func(piece string) string
	// replacement of what is not UTF-8: a byte-level vocabulary writes one
	// U+FFFD for each broken character, byte fallback one for each byte.
	perByte bool
	after   [2]string // a single character that is replaced in the text, and by what,
	strip   string    // a prefix that then goes from the whole text,
	strips  int       // up to so many times
}

// A Decoder turns ids into text as they come. Its zero value is not usable;
// see [Tokenizer.NewDecoder]. It is not safe for concurrent use.
type Decoder struct {
	t           *Tokenizer
	skipSpecial bool
	shown       []int32 // special tokens that are not skipped
	begun       bool
	strips      int
	pending     []byte // the start of a character
}

// NewDecoder returns a decoder at the start of a text; with skipSpecial,
// special tokens add nothing to it.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder {
	return &Decoder{t: t, skipSpecial: skipSpecial, strips: t.decoding.strips, pending: make([]byte, 0, 2*utf8.UTFMax)}
}

// Show has a new decoder show these special tokens, though it skips the others.
func (d *Decoder) Show(special []int32) { d.shown = special }

// Continue tells a new decoder that its ids continue a text, so that the space
// of the first one stays: "▁time" is " time" rather than "time".
func (d *Decoder) Continue() { d.begun, d.strips = true, 0 }

// Push returns the text that id completes: "" while a character is incomplete,
// never half of one.
func (d *Decoder) Push(id int32) string {
	if !d.t.known(id) || d.skipSpecial && d.t.special[id] && !slices.Contains(d.shown, id) {
		return ""
	}
	text := d.t.decoding.texts[id]
	if !d.begun {
		d.begun = true
		if d.t.decoding.begin != nil {
			text = d.t.decoding.begin(d.t.pieces[id])
		}
	}
	if len(d.pending) == 0 && utf8.ValidString(text) {
		return d.stripped(text)
	}
	d.pending = append(d.pending, text...)
	return d.stripped(d.t.decoding.replaced(d.complete(false)))
}

// Incomplete reports whether the last ids began a character that is still to
// be completed.
func (d *Decoder) Incomplete() bool { return len(d.pending) > 0 }

// Flush ends the text and returns what was held back, an incomplete character
// as U+FFFD. The decoder is then at the start of a new text.
func (d *Decoder) Flush() string {
	text := d.stripped(d.t.decoding.replaced(d.complete(true)))
	d.begun, d.strips = false, d.t.decoding.strips
	return text
}

// stripped takes the prefix off the start of the text.
func (d *Decoder) stripped(text string) string {
	for d.strips > 0 && text != "" {
		rest, ok := strings.CutPrefix(text, d.t.decoding.strip)
		if !ok {
			d.strips = 0
			break
		}
		d.strips--
		text = rest
	}
	return text
}

// complete takes the complete characters out of pending; at the end of the
// text, all of it.
func (d *Decoder) complete(end bool) string {
	if len(d.pending) == 0 {
		return ""
	}
	var out []byte
	rest := d.pending
	for len(rest) > 0 {
		if !end && !utf8.FullRune(rest) {
			break
		}
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n <= 1 {
			if n = 1; !d.t.decoding.perByte {
				n = brokenLen(rest)
			}
			out = append(out, "\uFFFD"...)
		} else {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	d.pending = append(d.pending[:0], rest...)
	return string(out)
}

// brokenLen returns the length of the broken character at the start of b: the
// longest prefix that a valid character could begin with, at least one byte.
func brokenLen(b []byte) int {
	n := 1
	for n < len(b) && n < utf8.UTFMax && !utf8.FullRune(b[:n]) {
		n++
	}
	if n > 1 && utf8.FullRune(b[:n]) {
		n--
	}
	return n
}

// decodeStep is one decoder of tokenizer.json that works piece by piece. first
// tells that the piece begins the text. It fails with errGrows rather than make
// more than maxDecoded bytes.
type decodeStep func(piece string, first bool) (string, error)

// What decoders may make of one piece, and of all pieces together.
const (
	maxDecoded    = 1 << 16
	maxAllDecoded = 256 << 20
)

// build fills texts from the pieces. How the bytes of a piece are spelled is
// one of three ways; added tokens are spelled as they are.
func (d *decoding) build(t *Tokenizer, steps []decodeStep, spelling spelling) error {
	text := func(piece string, first bool) (string, error) {
		for _, step := range steps {
			var err error
			if piece, err = step(piece, first); err != nil {
				return "", err
			}
		}
		switch spelling {
		case byteAlphabet:
			if raw, ok := alphabetBytes(piece); ok {
				piece = raw
			}
		case byteFallback:
			if b, ok := fallbackByte(piece); ok {
				return string([]byte{b}), nil
			}
		}
		return d.replaced(piece), nil
	}
	d.perByte = spelling == byteFallback
	d.texts = make([]string, len(t.pieces))
	all := 0
	for id, piece := range t.pieces {
		if piece == "" {
			continue
		}
		var err error
		d.texts[id], err = text(piece, false)
		if _, other := text(piece, true); err == nil {
			err = other
		}
		if all += len(d.texts[id]); err == nil && all > maxAllDecoded {
			err = errGrows
		}
		if err != nil {
			return fmt.Errorf("decoder: piece %q: %w", piece, err)
		}
	}
	if len(steps) > 0 {
		d.begin = func(piece string) string {
			s, _ := text(piece, true) // it has been tried
			return s
		}
	}
	return nil
}

// replaced is the text with what is replaced in it.
func (d *decoding) replaced(text string) string {
	if d.after[0] == "" {
		return text
	}
	return strings.ReplaceAll(text, d.after[0], d.after[1])
}

type spelling uint8

const (
	asText spelling = iota
	byteAlphabet
	byteFallback
)

// joinSpaces puts a space before each piece but the first; it is what decoding
// without a decoder does.
func joinSpaces(piece string, first bool) (string, error) {
	if first {
		return piece, nil
	}
	return " " + piece, nil
}

func decodeReplace(old, replacement string) decodeStep {
	replace := replaceString(old, replacement).apply
	return func(piece string, _ bool) (string, error) { return replace(piece, max(maxDecoded, len(piece))) }
}

// decodeStrip takes content off the ends of each piece.
func decodeStrip(content string, start, stop int) decodeStep {
	return func(piece string, _ bool) (string, error) {
		for range start {
			piece = strings.TrimPrefix(piece, content)
		}
		for range stop {
			piece = strings.TrimSuffix(piece, content)
		}
		return piece, nil
	}
}

// decodeMetaspace turns the visible space into a space, and into nothing in
// the first piece unless keepFirst.
func decodeMetaspace(mark string, keepFirst bool) decodeStep {
	return func(piece string, first bool) (string, error) {
		if first && !keepFirst {
			return strings.ReplaceAll(piece, mark, ""), nil
		}
		return strings.ReplaceAll(piece, mark, " "), nil
	}
}

// decodeWordPiece joins continuations and puts a space before other pieces.
func decodeWordPiece(prefix string, cleanup bool) decodeStep {
	return func(piece string, first bool) (string, error) {
		if !first {
			if rest, ok := strings.CutPrefix(piece, prefix); ok {
				piece = rest
			} else {
				piece = " " + piece
			}
		}
		if cleanup {
			for _, c := range wordPieceCleanup {
				piece = strings.ReplaceAll(piece, c[0], c[1])
			}
		}
		return piece, nil
	}
}

var wordPieceCleanup = [][2]string{
	{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
	{" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
}
