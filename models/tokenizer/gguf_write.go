package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"
)

// WriteGGUF writes the tokenizer that a GGUF file's metadata describes into a
// model's folder, as tokenizer.json and tokenizer_config.json, which Load and
// the Python libraries read. A bert vocabulary, which has lost its "##", is an
// error.
func WriteGGUF(dir string, meta Metadata) error {
	v := &ggufVocab{meta: meta}
	t, err := fromGGUF(v)
	if err != nil {
		return fmt.Errorf("tokenizer: gguf: %w", err)
	}
	content, err := v.file(t)
	if err != nil {
		return fmt.Errorf("tokenizer: gguf: %w", err)
	}
	return writeFolder(dir, content, v.config())
}

// CanWriteGGUF is the error that WriteGGUF would return for the tokenizer of a GGUF file.
func CanWriteGGUF(meta Metadata) error {
	v := &ggufVocab{meta: meta}
	t, err := fromGGUF(v)
	if err == nil {
		_, err = v.file(t)
	}
	if err != nil {
		return fmt.Errorf("tokenizer: gguf: %w", err)
	}
	return nil
}

// stage is a component of a tokenizer.json: its type and its fields.
type stage map[string]any

// file is the tokenizer.json of t, which was read from v.
func (v *ggufVocab) file(t *Tokenizer) (map[string]any, error) {
	vocabulary := make(map[string]int, len(v.pieces)) // ids has lost what the model hides
	for id, piece := range v.pieces {
		if !utf8.ValidString(piece) {
			return nil, fmt.Errorf("tokenizer.ggml.tokens: %q is not UTF-8", piece)
		}
		if piece != "" {
			vocabulary[piece] = id
		}
	}
	f := map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": v.added(),
		"normalizer": nil, "pre_tokenizer": nil, "post_processor": v.postProcessor(t),
	}
	m := stage{
		"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
		"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary,
	}
	f["model"] = m
	switch b, _ := t.model.(*bpe); {
	case b == nil:
		return nil, fmt.Errorf("only a BPE can be written")
	case b.byteLevel:
		name, _ := v.meta.String(ggufPrefix + "pre")
		pre := ggufPre[name]
		if pre.nfc {
			f["normalizer"] = stage{"type": "NFC"}
		}
		spelled := stage{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
		var cuts []stage
		for _, p := range pre.patterns {
			cuts = append(cuts, stage{"type": "Split", "pattern": stage{"Regex": p}, "behavior": "Isolated", "invert": false})
		}
		f["pre_tokenizer"] = stage{"type": "Sequence", "pretokenizers": append(cuts, spelled)}
		f["decoder"] = spelled
		m["ignore_merges"] = pre.whole
		m["merges"], _ = v.meta.Strings(ggufPrefix + "merges")
	default:
		marks := []stage{{"type": "Replace", "pattern": stage{"String": " "}, "content": spaceMark}}
		texts := []stage{
			{"type": "Replace", "pattern": stage{"String": spaceMark}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
		}
		if v.flag("add_space_prefix", true) {
			marks = slices.Insert(marks, 0, stage{"type": "Prepend", "prepend": spaceMark})
			texts = append(texts, stage{"type": "Strip", "content": " ", "start": 1, "stop": 0})
		}
		f["normalizer"] = stage{"type": "Sequence", "normalizers": marks}
		f["decoder"] = stage{"type": "Sequence", "decoders": texts}
		m["fuse_unk"], m["byte_fallback"] = true, b.fallback
		if b.unknown != none {
			m["unk_token"] = v.pieces[b.unknown]
		}
		m["merges"] = v.ordered(b.joins)
	}
	return f, nil
}

// ordered lists the joins of pieces as merges, the highest score first.
func (v *ggufVocab) ordered(joins map[pair]join) [][2]string {
	keys := make([]pair, 0, len(joins))
	for k := range joins {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b pair) int { return cmp.Or(cmp.Compare(joins[a].rank, joins[b].rank), cmp.Compare(a, b)) })
	merges := make([][2]string, len(keys))
	for i, k := range keys {
		merges[i] = [2]string{v.pieces[k>>32], v.pieces[uint32(k)]}
	}
	return merges
}

// postProcessor puts the special tokens of t's templates around texts.
func (v *ggufVocab) postProcessor(t *Tokenizer) any {
	if len(t.single) == 1 {
		return nil
	}
	special := map[string]templateSpecial{}
	items := func(from template) (all []map[string]templateRef) {
		for _, s := range from {
			if len(s.ids) == 0 {
				all = append(all, map[string]templateRef{"Sequence": {ID: string(rune('A' + s.text)), TypeID: s.typeID}})
				continue
			}
			name := v.pieces[s.ids[0]]
			special[name] = templateSpecial{ID: name, IDs: s.ids, Tokens: []string{name}}
			all = append(all, map[string]templateRef{"SpecialToken": {ID: name, TypeID: s.typeID}})
		}
		return all
	}
	return stage{"type": "TemplateProcessing", "single": items(t.single), "pair": items(t.pair), "special_tokens": special}
}

// config is the tokenizer_config.json.
func (v *ggufVocab) config() map[string]any {
	c := map[string]any{
		"tokenizer_class":              "PreTrainedTokenizerFast",
		"clean_up_tokenization_spaces": false,
		"model_input_names":            []string{"input_ids", "attention_mask"}, // by itself transformers adds token_type_ids, which decoders refuse
	}
	for role, id := range v.roles {
		c[role] = v.pieces[id]
	}
	type named struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if chat, ok := v.meta.String("tokenizer.chat_template"); ok {
		c["chat_template"] = chat
		if tools, ok := v.meta.String("tokenizer.chat_template.tool_use"); ok {
			c["chat_template"] = []named{{"default", chat}, {"tool_use", tools}}
		}
	}
	return c
}
