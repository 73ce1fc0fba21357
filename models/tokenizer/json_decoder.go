package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// decoderChain collects the decoders of a file. Those that come after the
// pieces were joined see one text, which a stream never has whole: what works
// character by character is taken all the same.
type decoderChain struct {
	steps    []decodeStep
	spelling spelling
	fused    bool      // pieces were joined
	after    [2]string // a single character that is replaced in the text, and by what,
	strip    string    // what goes from its start,
	strips   int       // so many times
	spelled  bool      // and it is spelled in the byte alphabet
	stages   int
}

func (d *decoderChain) parse(raw json.RawMessage, path string) error {
	name, err := stageType(raw, path)
	if err != nil {
		return err
	}
	if d.stages++; d.stages > maxStages {
		return fmt.Errorf("%s: more than %d stages", path, maxStages)
	}
	switch name {
	case "":
		d.steps = append(d.steps, joinSpaces)
		return nil
	case "Sequence":
		f, err := decodeStage[struct {
			component
			Decoders []json.RawMessage `json:"decoders"`
		}](raw, path)
		for i := 0; i < len(f.Decoders) && err == nil; i++ {
			err = d.parse(f.Decoders[i], fmt.Sprintf("%s.decoders[%d]", path, i))
		}
		return err
	case "ByteLevel":
		_, err := decodeStage[byteLevelFields](raw, path)
		switch {
		case err != nil:
			return err
		case d.spelling == byteAlphabet || d.strips > 0 || d.spelling == byteFallback && !d.fused:
			return d.late(path, name)
		}
		if d.spelled = d.fused; d.after[0] != "" { // of what is spelled: as good before the pieces are joined
			d.steps = append(d.steps, decodeReplace(d.after[0], d.after[1]))
			d.after = [2]string{}
		}
		d.spelling, d.fused = byteAlphabet, true
		return nil
	case "ByteFallback":
		if err := bare(raw, path); err != nil {
			return err
		}
		if d.joined() {
			return d.late(path, name)
		}
		d.spelling = byteFallback
		return nil
	case "Fuse":
		d.fused = true
		return bare(raw, path)
	case "Strip":
		return d.parseStrip(raw, path)
	case "Replace":
		return d.parseReplace(raw, path)
	}
	step, err := newDecodeStep(name, raw, path)
	if err != nil {
		return err
	}
	if d.joined() {
		return d.late(path, name)
	}
	d.steps = append(d.steps, step)
	return nil
}

// joined reports whether a further decoder would not see the pieces.
func (d *decoderChain) joined() bool { return d.fused || d.spelling != asText }

func (d *decoderChain) late(path, name string) error {
	return fmt.Errorf("%s: %q after the pieces were joined is not supported", path, name)
}

func (d *decoderChain) parseStrip(raw json.RawMessage, path string) error {
	f, err := decodeStage[struct {
		component
		Content string `json:"content"`
		Start   int    `json:"start"`
		Stop    int    `json:"stop"`
	}](raw, path)
	switch {
	case err != nil:
		return err
	case f.Content == "" || f.Start < 0 || f.Stop < 0 || f.Start > 1<<10 || f.Stop > 1<<10:
		return fmt.Errorf("%s: content %q, start %d, stop %d", path, f.Content, f.Start, f.Stop)
	case !d.joined():
		d.steps = append(d.steps, decodeStrip(f.Content, f.Start, f.Stop))
	case d.fused && f.Stop == 0 && d.strips == 0:
		d.strip, d.strips = f.Content, f.Start
	default:
		return d.late(path, "Strip")
	}
	return nil
}

func (d *decoderChain) parseReplace(raw json.RawMessage, path string) error {
	f, err := decodeStage[struct {
		component
		Pattern pattern `json:"pattern"`
		Content string  `json:"content"`
	}](raw, path)
	switch {
	case err != nil:
		return err
	case f.Pattern.String == nil || *f.Pattern.String == "":
		return fmt.Errorf("%s: only a string pattern is supported", path)
	case !d.joined():
		d.steps = append(d.steps, decodeReplace(*f.Pattern.String, f.Content))
	case d.fused && d.strips == 0 && d.after[0] == "" && utf8.RuneCountInString(*f.Pattern.String) == 1 && !strings.Contains(f.Content, *f.Pattern.String):
		d.after = [2]string{*f.Pattern.String, f.Content}
	default:
		return d.late(path, "Replace")
	}
	return nil
}

// newDecodeStep is a decoder that works piece by piece.
func newDecodeStep(name string, raw json.RawMessage, path string) (decodeStep, error) {
	switch name {
	case "Metaspace":
		m, err := parseMetaspace(raw, path)
		return decodeMetaspace(string(m.replacement), m.prepend == prependNever), err
	case "WordPiece":
		f, err := decodeStage[struct {
			component
			Prefix  string `json:"prefix"`
			Cleanup bool   `json:"cleanup"`
		}](raw, path)
		return decodeWordPiece(f.Prefix, f.Cleanup), err
	}
	return nil, unsupported(path, name)
}

func (d *decoderChain) build(t *Tokenizer) error {
	if d.spelled {
		if err := d.checkSpelled(t); err != nil {
			return err
		}
	}
	t.decoding.after, t.decoding.strip, t.decoding.strips = d.after, d.strip, d.strips
	return t.decoding.build(t, d.steps, d.spelling)
}

// checkSpelled refuses pieces for which it matters that ByteLevel comes after
// the pieces were joined: one that is not in the byte alphabet would leave the
// whole text as it is spelled. Special tokens, which answers leave out, are
// let pass and stand for themselves.
func (d *decoderChain) checkSpelled(t *Tokenizer) error {
	for id, piece := range t.pieces {
		_, fallback := fallbackByte(piece)
		if piece == "" || t.special[id] && !fallback {
			continue
		}
		text := piece
		for _, step := range d.steps {
			var err error
			if text, err = step(text, false); err != nil {
				return fmt.Errorf("decoder: piece %q: %w", piece, err)
			}
		}
		if _, spelled := alphabetBytes(text); !spelled || fallback {
			return fmt.Errorf("decoder: piece %q is not spelled in the byte alphabet: ByteLevel after the pieces were joined is not supported", piece)
		}
	}
	return nil
}
