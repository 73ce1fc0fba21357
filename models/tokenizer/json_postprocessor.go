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
	switch name {
	case "ByteLevel": // only about offsets
		_, err := decodeStage[byteLevelFields](raw, path)
		return err
	case "Sequence":
		f, err := decodeStage[struct {
			component
			Processors []json.RawMessage `json:"processors"`
		}](raw, path)
		for i := 0; i < len(f.Processors) && err == nil; i++ {
			err = t.parsePostProcessor(f.Processors[i], fmt.Sprintf("%s.processors[%d]", path, i))
		}
		return err
	case "TemplateProcessing":
		return t.parseTemplates(raw, path)
	case "BertProcessing":
		f, err := decodeStage[wrapFields](raw, path)
		return t.wrap(f, err, path, template{{text: 0}, {text: 1, typeID: 1}})
	case "RobertaProcessing":
		f, err := decodeStage[struct {
			wrapFields
			TrimOffsets bool `json:"trim_offsets"`
			PrefixSpace bool `json:"add_prefix_space"`
		}](raw, path)
		return t.wrap(f.wrapFields, err, path, template{{text: 0}, {ids: []int32{f.Sep.id}}, {text: 1}})
	}
	return unsupported(path, name)
}

// wrapFields are those of BertProcessing and RobertaProcessing.
type wrapFields struct {
	component
	Sep wrapToken `json:"sep"`
	Cls wrapToken `json:"cls"`
}

// wrap sets the templates of a text between cls and sep, and of two, which
// have a sep behind the first. RoBERTa puts another between them.
func (t *Tokenizer) wrap(f wrapFields, err error, path string, two template) error {
	if err != nil {
		return err
	}
	if !t.known(f.Cls.id) || !t.known(f.Sep.id) {
		return fmt.Errorf("%s: cls %d or sep %d is outside the vocabulary", path, f.Cls.id, f.Sep.id)
	}
	cls, sep := []int32{f.Cls.id}, []int32{f.Sep.id}
	pair := template{{ids: cls}, two[0], {ids: sep}}
	pair = append(pair, two[1:]...)
	return t.setTemplates(around(cls, sep), append(pair, slot{ids: sep, typeID: two[len(two)-1].typeID}), path)
}

func (t *Tokenizer) parseTemplates(raw json.RawMessage, path string) error {
	f, err := decodeStage[struct {
		component
		Single  []templateItem             `json:"single"`
		Pair    []templateItem             `json:"pair"`
		Special map[string]templateSpecial `json:"special_tokens"`
	}](raw, path)
	if err != nil {
		return err
	}
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
	seen, around := 0, 0
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
			if around += len(token.IDs); around > maxAround {
				return nil, fmt.Errorf("special token %q: there are more than %d ids around the text", item.SpecialToken.ID, maxAround)
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
