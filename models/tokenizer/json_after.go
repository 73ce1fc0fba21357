package tokenizer

import (
	"encoding/json"
	"fmt"
)

// parsePostProcessor sets the templates.
func (t *Tokenizer) parsePostProcessor(raw json.RawMessage, path string) error {
	name, err := stageType(raw, path)
	if err != nil || name == "" {
		return err
	}
	var f struct {
		component
		Processors  []json.RawMessage          `json:"processors"`
		Single      []templateItem             `json:"single"`
		Pair        []templateItem             `json:"pair"`
		Special     map[string]templateSpecial `json:"special_tokens"`
		Sep         wrapToken                  `json:"sep"`
		Cls         wrapToken                  `json:"cls"`
		TrimOffsets bool                       `json:"trim_offsets"`
		PrefixSpace bool                       `json:"add_prefix_space"`
		UseRegex    bool                       `json:"use_regex"`
	}
	if err := decodeStage(raw, &f, path); err != nil {
		return err
	}
	switch name {
	case "ByteLevel": // only about offsets
	case "Sequence":
		for i, raw := range f.Processors {
			if err := t.parsePostProcessor(raw, fmt.Sprintf("%s.processors[%d]", path, i)); err != nil {
				return err
			}
		}
	case "TemplateProcessing":
		single, err := parseTemplate(f.Single, f.Special, len(t.pieces), 1)
		if err != nil {
			return fmt.Errorf("%s.single: %w", path, err)
		}
		if len(f.Pair) == 0 {
			return t.setTemplates(single, barePair, path)
		}
		pair, err := parseTemplate(f.Pair, f.Special, len(t.pieces), 2)
		if err != nil {
			return fmt.Errorf("%s.pair: %w", path, err)
		}
		return t.setTemplates(single, pair, path)
	case "BertProcessing", "RobertaProcessing":
		cls, sep := []int32{f.Cls.id}, []int32{f.Sep.id}
		if !t.known(f.Cls.id) || !t.known(f.Sep.id) {
			return fmt.Errorf("%s: cls %d or sep %d is outside the vocabulary", path, f.Cls.id, f.Sep.id)
		}
		pair := template{{ids: cls}, {text: 0}, {ids: sep}, {text: 1, typeID: 1}, {ids: sep, typeID: 1}}
		if name == "RobertaProcessing" {
			pair = template{{ids: cls}, {text: 0}, {ids: sep}, {ids: sep}, {text: 1}, {ids: sep}}
		}
		return t.setTemplates(around(cls, sep), pair, path)
	default:
		return unsupported(path, name)
	}
	return nil
}

// setTemplates refuses a second template: what two would make of a pair is
// not worth guessing.
func (t *Tokenizer) setTemplates(single, pair template, path string) error {
	if &t.single[0] != &bareSingle[0] {
		return fmt.Errorf("%s: a second template is not supported", path)
	}
	t.single, t.pair = single, pair
	return nil
}

// templateItem is {"SpecialToken": …} or {"Sequence": …}.
type templateItem struct {
	SpecialToken *templateRef `json:"SpecialToken"`
	Sequence     *templateRef `json:"Sequence"`
}

type templateRef struct {
	ID     string `json:"id"`
	TypeID int32  `json:"type_id"`
}

type templateSpecial struct {
	ID     string   `json:"id"`
	IDs    []int32  `json:"ids"`
	Tokens []string `json:"tokens"`
}

func parseTemplate(items []templateItem, special map[string]templateSpecial, vocabSize, texts int) (template, error) {
	var t template
	seen := 0
	for _, item := range items {
		switch {
		case item.Sequence != nil && item.SpecialToken == nil:
			s := slot{typeID: item.Sequence.TypeID}
			switch item.Sequence.ID {
			case "A":
			case "B":
				s.text = 1
			default:
				return nil, unsupported("Sequence", item.Sequence.ID)
			}
			if s.text >= texts {
				return nil, fmt.Errorf("sequence %s in a template for %d text", item.Sequence.ID, texts)
			}
			seen++
			t = append(t, s)
		case item.SpecialToken != nil && item.Sequence == nil:
			token, ok := special[item.SpecialToken.ID]
			if !ok || len(token.IDs) == 0 {
				return nil, fmt.Errorf("special token %q has no ids", item.SpecialToken.ID)
			}
			for _, id := range token.IDs {
				if id < 0 || int(id) >= vocabSize {
					return nil, fmt.Errorf("special token %q has id %d outside the vocabulary", item.SpecialToken.ID, id)
				}
			}
			t = append(t, slot{ids: token.IDs, typeID: item.SpecialToken.TypeID})
		default:
			return nil, fmt.Errorf("an item is neither a SpecialToken nor a Sequence")
		}
	}
	if seen != texts {
		return nil, fmt.Errorf("%d texts where %d belong", seen, texts)
	}
	return t, nil
}

// wrapToken is ["[CLS]", 101].
type wrapToken struct{ id int32 }

func (w *wrapToken) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("%s is not a token and its id", data)
	}
	return json.Unmarshal(parts[1], &w.id)
}

// decoderChain collects the decoders of a file.
type decoderChain struct {
	steps    []decodeStep
	spelling spelling
	fused    bool // pieces were joined: what follows sees one text
	strip    string
	strips   int
}

func (d *decoderChain) parse(raw json.RawMessage, path string) error {
	name, err := stageType(raw, path)
	if err != nil {
		return err
	}
	if name == "" {
		d.steps = append(d.steps, joinSpaces)
		return nil
	}
	var f struct {
		component
		Decoders    []json.RawMessage `json:"decoders"`
		PrefixSpace *bool             `json:"add_prefix_space"`
		TrimOffsets bool              `json:"trim_offsets"`
		UseRegex    bool              `json:"use_regex"`
		Pattern     pattern           `json:"pattern"`
		Content     string            `json:"content"`
		Start       int               `json:"start"`
		Stop        int               `json:"stop"`
		Prefix      string            `json:"prefix"`
		Cleanup     bool              `json:"cleanup"`
		Replacement string            `json:"replacement"`
		Scheme      string            `json:"prepend_scheme"`
		Split       *bool             `json:"split"`
		StrRep      string            `json:"str_rep"`
	}
	if err := decodeStage(raw, &f, path); err != nil {
		return err
	}
	late := fmt.Errorf("%s: %q after the pieces were joined is not supported", path, name)
	joined := d.fused || d.spelling != asText
	switch name {
	case "Sequence":
		for i, raw := range f.Decoders {
			if err := d.parse(raw, fmt.Sprintf("%s.decoders[%d]", path, i)); err != nil {
				return err
			}
		}
	case "ByteLevel":
		if joined {
			return late
		}
		d.spelling, d.fused = byteAlphabet, true
	case "ByteFallback":
		if joined {
			return late
		}
		d.spelling = byteFallback
	case "Fuse":
		d.fused = true
	case "Strip":
		switch {
		case f.Content == "" || f.Start < 0 || f.Stop < 0 || f.Start > 1<<10 || f.Stop > 1<<10:
			return fmt.Errorf("%s: content %q, start %d, stop %d", path, f.Content, f.Start, f.Stop)
		case !joined:
			d.steps = append(d.steps, decodeStrip(f.Content, f.Start, f.Stop))
		case d.fused && f.Stop == 0 && d.strips == 0:
			d.strip, d.strips = f.Content, f.Start
		default:
			return late
		}
	case "Replace":
		if f.Pattern.String == nil || *f.Pattern.String == "" {
			return fmt.Errorf("%s: only a string pattern is supported", path)
		}
		if joined {
			return late
		}
		d.steps = append(d.steps, decodeReplace(*f.Pattern.String, f.Content))
	case "Metaspace":
		m, err := newMetaspace(f.Replacement, f.Scheme, f.PrefixSpace, f.Split)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if joined {
			return late
		}
		d.steps = append(d.steps, decodeMetaspace(f.Replacement, m.prepend == prependNever))
	case "WordPiece":
		if joined {
			return late
		}
		d.steps = append(d.steps, decodeWordPiece(f.Prefix, f.Cleanup))
	default:
		return unsupported(path, name)
	}
	return nil
}

func (d *decoderChain) build(t *Tokenizer) {
	t.decoding.strip, t.decoding.strips = d.strip, d.strips
	t.decoding.build(t.pieces, d.steps, d.spelling)
}
