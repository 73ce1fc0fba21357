package tokenizer

import (
	"encoding/json"
	"fmt"

	"golang.org/x/text/unicode/norm"
)

// parseNormalizer adds a stage's normalizers.
func (t *Tokenizer) parseNormalizer(raw json.RawMessage, path string) error {
	name, err := stageType(raw, path)
	if err != nil || name == "" {
		return err
	}
	if name == "Sequence" {
		f, err := decodeStage[struct {
			component
			Normalizers []json.RawMessage `json:"normalizers"`
		}](raw, path)
		for i := 0; i < len(f.Normalizers) && err == nil; i++ {
			err = t.parseNormalizer(f.Normalizers[i], fmt.Sprintf("%s.normalizers[%d]", path, i))
		}
		return err
	}
	n, err := newNormalizer(name, raw, path)
	if err != nil {
		return err
	}
	if n.path = fmt.Sprintf("%s: %s", path, name); len(t.normalizers) == maxStages {
		return fmt.Errorf("%s: more than %d stages", path, maxStages)
	}
	t.normalizers = append(t.normalizers, n)
	return nil
}

// forms are the normalizers without fields.
var forms = map[string]normalizer{
	"NFC": unicodeForm(norm.NFC), "NFD": unicodeForm(norm.NFD),
	"NFKC": unicodeForm(norm.NFKC), "NFKD": unicodeForm(norm.NFKD),
	"Lowercase":    {what: "lowercase", byCharacter: true, apply: plainly(lowercase), shrink: shrinkLower},
	"StripAccents": {what: "strip accents", byCharacter: true, apply: plainly(stripAccents)},
	"Nmt":          {what: "nmt", apply: plainly(nmt)},
	"ByteLevel":    {what: "spell bytes", apply: plainly(spellBytes), shrink: 1},
}

func newNormalizer(name string, raw json.RawMessage, path string) (n normalizer, err error) {
	if form, ok := forms[name]; ok {
		_, err := decodeStage[component](raw, path)
		return form, err
	}
	switch name {
	case "Strip":
		f, err := decodeStage[struct {
			component
			Left  bool `json:"strip_left"`
			Right bool `json:"strip_right"`
		}](raw, path)
		return stripSpace(f.Left, f.Right), err
	case "Prepend":
		f, err := decodeStage[struct {
			component
			Prepend string `json:"prepend"`
		}](raw, path)
		return prepend(f.Prepend), err
	case "Replace":
		f, err := decodeStage[struct {
			component
			Pattern pattern `json:"pattern"`
			Content string  `json:"content"`
		}](raw, path)
		switch {
		case err != nil:
			return n, err
		case f.Pattern.Regex != nil:
			x, err := compile(*f.Pattern.Regex)
			if err != nil {
				return n, fmt.Errorf("%s: %w", path, err)
			}
			return replaceRegex(*f.Pattern.Regex, x, f.Content), nil
		case f.Pattern.String == nil || *f.Pattern.String == "":
			return n, fmt.Errorf("%s: no pattern", path)
		}
		return replaceString(*f.Pattern.String, f.Content), nil
	case "BertNormalizer":
		f, err := decodeStage[struct {
			component
			CleanText    bool  `json:"clean_text"`
			Chinese      bool  `json:"handle_chinese_chars"`
			StripAccents *bool `json:"strip_accents"`
			Lowercase    bool  `json:"lowercase"`
		}](raw, path)
		b := bertNormalizer{cleanText: f.CleanText, chineseChars: f.Chinese, stripAccents: f.Lowercase, lowercase: f.Lowercase}
		if f.StripAccents != nil {
			b.stripAccents = *f.StripAccents
		}
		return b.normalizer(), err
	}
	return n, unsupported(path, name)
}
