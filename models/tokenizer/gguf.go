package tokenizer

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Metadata is what FromGGUF asks of a GGUF file. Each method returns ok false
// if the key is missing or holds another type; numbers of any width are fine.
type Metadata interface {
	String(key string) (string, bool)
	Strings(key string) ([]string, bool)
	Int(key string) (int, bool)
	Ints(key string) ([]int, bool)
	Floats(key string) ([]float64, bool)
	Bool(key string) (bool, bool)
}

// Token types of a GGUF file.
const (
	ggufNormal = 1 + iota
	ggufUnknown
	ggufControl
	ggufUserDefined
	ggufUnused
	ggufByte
)

// FromGGUF builds the tokenizer that a GGUF file's metadata describes:
// tokenizer.ggml.model may be gpt2 (byte-level BPE), llama (SentencePiece BPE)
// or bert (WordPiece).
func FromGGUF(meta Metadata) (*Tokenizer, error) {
	t, err := fromGGUF(&ggufVocab{meta: meta})
	if err != nil {
		return nil, fmt.Errorf("tokenizer: gguf: %w", err)
	}
	return t, nil
}

const ggufPrefix = "tokenizer.ggml."

// ggufVocab is the vocabulary of a GGUF file.
type ggufVocab struct {
	meta   Metadata
	pieces []string
	types  []int
	ids    map[string]int32
	roles  map[string]int32
}

func fromGGUF(v *ggufVocab) (*Tokenizer, error) {
	model, ok := v.meta.String(ggufPrefix + "model")
	if !ok {
		return nil, errors.New("tokenizer.ggml.model is missing")
	}
	if err := v.read(); err != nil {
		return nil, err
	}
	t := &Tokenizer{single: bareSingle, pair: barePair}
	var steps []decodeStep
	var spelled spelling
	var err error
	switch model {
	case "gpt2":
		spelled = byteAlphabet
		err = v.byteLevel(t)
	case "llama":
		spelled = byteFallback
		steps = append(steps, decodeReplace(spaceMark, " "))
		if v.flag("add_space_prefix", true) {
			t.decoding.strip, t.decoding.strips = " ", 1
		}
		err = v.sentencePiece(t)
	case "bert":
		steps = append(steps, v.wordPieceText)
		err = v.wordPiece(t)
	default:
		err = fmt.Errorf("tokenizer.ggml.model %q is not supported", model)
	}
	if err != nil {
		return nil, err
	}
	if err := t.setPieces(v.ids, v.added()); err != nil {
		return nil, err
	}
	t.roles = v.roles
	if err := t.decoding.build(t, steps, spelled); err != nil {
		return nil, err
	}
	return t, t.finish()
}

// read takes the pieces, their types and the roles.
func (v *ggufVocab) read() error {
	var ok bool
	if v.pieces, ok = v.meta.Strings(ggufPrefix + "tokens"); !ok || len(v.pieces) == 0 {
		return errors.New("tokenizer.ggml.tokens is missing")
	}
	if v.types, ok = v.meta.Ints(ggufPrefix + "token_type"); !ok {
		v.types = nil
	} else if len(v.types) != len(v.pieces) {
		return fmt.Errorf("tokenizer.ggml.token_type has %d entries for %d tokens", len(v.types), len(v.pieces))
	}
	v.ids = make(map[string]int32, len(v.pieces))
	for i, piece := range v.pieces {
		if piece == "" {
			continue
		}
		if other, ok := v.ids[piece]; ok {
			return fmt.Errorf("tokenizer.ggml.tokens: %q is both %d and %d", piece, other, i)
		}
		v.ids[piece] = int32(i)
	}
	v.roles = make(map[string]int32)
	for key, role := range ggufRoles {
		id, ok := v.meta.Int(ggufPrefix + key)
		if !ok {
			continue
		}
		if id < 0 || id >= len(v.pieces) {
			return fmt.Errorf("tokenizer.ggml.%s is %d, outside the vocabulary of %d", key, id, len(v.pieces))
		}
		v.roles[role] = int32(id)
	}
	return nil
}

var ggufRoles = map[string]string{
	"bos_token_id": "bos_token", "eos_token_id": "eos_token", "unknown_token_id": "unk_token",
	"padding_token_id": "pad_token", "cls_token_id": "cls_token", "mask_token_id": "mask_token",
	"seperator_token_id": "sep_token", //nolint:misspell // so it is written
}

// byRole sets the id of a role that the file leaves out, if it has the piece.
func (v *ggufVocab) byRole(role string, pieces ...string) {
	for _, piece := range pieces {
		if _, ok := v.roles[role]; ok {
			return
		}
		if id, ok := v.ids[piece]; ok {
			v.roles[role] = id
		}
	}
}

func (v *ggufVocab) flag(key string, otherwise bool) bool {
	if set, ok := v.meta.Bool(ggufPrefix + key); ok {
		return set
	}
	return otherwise
}

func (v *ggufVocab) kind(id int) int {
	if v.types == nil {
		return ggufNormal
	}
	return v.types[id]
}

// added returns the tokens that are matched in the text before the model.
func (v *ggufVocab) added() []addedToken {
	var added []addedToken
	for id, piece := range v.pieces {
		kind := v.kind(id)
		if piece == "" || kind != ggufControl && kind != ggufUserDefined && kind != ggufUnknown {
			continue
		}
		added = append(added, addedToken{ID: int32(id), Content: piece, Special: kind != ggufUserDefined})
	}
	return v.strips(added)
}

// strips gives added tokens the white space they take, which a GGUF file does
// not say and llama.cpp knows by the model's name.
func (v *ggufVocab) strips(added []addedToken) []addedToken {
	name, _ := v.meta.String("general.name")
	name = strings.ToLower(name)
	pre, _ := v.meta.String(ggufPrefix + "pre")
	for i := range added {
		token := &added[i]
		switch {
		case strings.Contains(name, "phi-3") || strings.Contains(name, "phi3"):
			token.RStrip = token.Content != "<unk>" && token.Content != "<s>" && token.Content != "<|endoftext|>"
		case pre == "jina-v2-de" || pre == "jina-v2-es" || pre == "jina-v2-code" || pre == "roberta-bpe":
			token.LStrip = token.Content == "<mask>"
		case strings.Contains(name, "modern-bert") || pre == "modern-bert":
			token.LStrip = token.Content == "[MASK]"
		}
	}
	return added
}

// wrap sets the templates from add_bos_token and add_eos_token. Of a pair each text has
// both, unless they are joined: then the second has no BOS.
func (v *ggufVocab) wrap(t *Tokenizer, bos, eos, joined bool) error {
	var before, after []int32
	for _, side := range []struct {
		add   bool
		role  string
		where *[]int32
	}{
		{v.flag("add_bos_token", bos), "bos_token", &before},
		{v.flag("add_eos_token", eos), "eos_token", &after},
	} {
		if !side.add {
			continue
		}
		id, ok := v.roles[side.role]
		if !ok {
			return fmt.Errorf("tokenizer.ggml.add_%s is set and tokenizer.ggml.%s_id is missing", side.role, side.role)
		}
		*side.where = []int32{id}
	}
	t.single = around(before, after)
	t.pair = nil
	for text := range 2 {
		if text == 1 && joined {
			before = nil
		}
		for _, s := range around(before, after) {
			if len(s.ids) == 0 {
				s.text, s.typeID = text, int32(text)
			}
			t.pair = append(t.pair, s)
		}
	}
	return nil
}

// byteLevel is tokenizer.ggml.model = gpt2.
func (v *ggufVocab) byteLevel(t *Tokenizer) error {
	name, ok := v.meta.String(ggufPrefix + "pre")
	if !ok {
		return errors.New("tokenizer.ggml.pre is missing: the file does not say how text is split")
	}
	pre, ok := ggufPre[name]
	if !ok {
		return fmt.Errorf("tokenizer.ggml.pre %q is not supported", name)
	}
	if pre.nfc {
		t.normalizers = []normalizer{unicodeForm(norm.NFC)}
	}
	var err error
	if t.splitters, err = pre.splitters(); err != nil {
		return fmt.Errorf("tokenizer.ggml.pre %q: %w", name, err)
	}
	lines, ok := v.meta.Strings(ggufPrefix + "merges")
	if !ok {
		return errors.New("tokenizer.ggml.merges is missing")
	}
	merges := make([][2]string, len(lines))
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok {
			return fmt.Errorf("tokenizer.ggml.merges: %q is not two pieces", line)
		}
		merges[i] = [2]string{left, right}
	}
	m := &bpe{byteLevel: true, whole: pre.whole, unknown: none}
	if err := m.addMerges(v.ids, merges); err != nil {
		return err
	}
	m.finish(v.ids)
	t.model = m
	return v.wrap(t, pre.bos, pre.eos, pre.joined)
}

// sentencePiece is tokenizer.ggml.model = llama: any two neighbours whose text
// is a piece join, the piece of the highest score first.
func (v *ggufVocab) sentencePiece(t *Tokenizer) error {
	scores, ok := v.meta.Floats(ggufPrefix + "scores")
	if !ok || len(scores) != len(v.pieces) {
		return fmt.Errorf("tokenizer.ggml.scores has %d entries for %d tokens", len(scores), len(v.pieces))
	}
	v.byRole("bos_token", "<s>")
	v.byRole("eos_token", "</s>")
	v.byRole("unk_token", "<unk>")
	m := &bpe{unknown: none, fuse: true, joins: scoredJoins(v, scores)}
	if id, ok := v.roles["unk_token"]; ok {
		m.unknown = id
	}
	_, m.fallback = v.ids[fallbackPiece(0)]
	m.finish(v.ids)
	t.model = m
	if v.flag("add_space_prefix", true) {
		t.normalizers = append(t.normalizers, prepend(spaceMark))
	}
	t.normalizers = append(t.normalizers, replaceString(" ", spaceMark))
	if v.flag("remove_extra_whitespaces", false) {
		return errors.New("tokenizer.ggml.remove_extra_whitespaces is not supported")
	}
	return v.wrap(t, true, false, false)
}

// scoredJoins returns every way to put a piece together from two, ranked by
// the piece's score; equal scores have equal rank.
func scoredJoins(v *ggufVocab, scores []float64) map[pair]join {
	var order []int
	for id, piece := range v.pieces {
		if kind := v.kind(id); piece != "" && (kind == ggufNormal || kind == ggufUserDefined || kind == ggufUnused) {
			order = append(order, id)
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return scores[order[i]] > scores[order[j]] })
	joins := make(map[pair]join)
	rank := int32(0)
	for i, id := range order {
		if i > 0 && scores[id] != scores[order[i-1]] {
			rank++
		}
		piece := v.pieces[id]
		for cut := range piece {
			if cut == 0 {
				continue
			}
			left, ok := v.ids[piece[:cut]]
			if !ok {
				continue
			}
			if right, ok := v.ids[piece[cut:]]; ok {
				joins[pairOf(left, right)] = join{rank, int32(id)}
			}
		}
	}
	return joins
}

// wordPiece is tokenizer.ggml.model = bert. A piece that starts a word has a ▁
// before it; the "##" of the others is gone.
func (v *ggufVocab) wordPiece(t *Tokenizer) error {
	v.byRole("cls_token", "[CLS]")
	v.byRole("sep_token", "[SEP]")
	v.byRole("unk_token", "[UNK]")
	cls, sep := v.roles["cls_token"], v.roles["sep_token"]
	if bos, ok := v.roles["bos_token"]; ok {
		cls = bos
	}
	unknown, ok := v.roles["unk_token"]
	if !ok || cls == sep {
		return errors.New("tokenizer.ggml.unknown_token_id, cls_token_id or seperator_token_id is missing") //nolint:misspell // so it is written
	}
	m := &wordPiece{starts: make(map[string]int32), continues: make(map[string]int32), unknown: unknown, maxRunes: 100}
	for id, piece := range v.pieces {
		switch rest, ok := strings.CutPrefix(piece, spaceMark); {
		case v.kind(id) != ggufNormal || rest == "":
		case ok:
			m.starts[rest] = int32(id)
		default:
			m.continues[piece] = int32(id)
		}
	}
	m.finish()
	t.model = m
	lower := v.flag("normalizer.lowercase", true)
	bert := bertNormalizer{
		cleanText: true, chineseChars: true, lowercase: lower,
		stripAccents: v.flag("normalizer.strip_accents", lower),
	}
	t.normalizers = []normalizer{bert.normalizer()}
	t.splitters = []splitter{atSpaces(), atPunctuation(isolated)}
	t.single = around([]int32{cls}, []int32{sep})
	t.pair = template{
		{ids: []int32{cls}}, {text: 0}, {ids: []int32{sep}},
		{text: 1, typeID: 1}, {ids: []int32{sep}, typeID: 1},
	}
	return nil
}

// wordPieceText decodes a piece of a bert vocabulary.
func (v *ggufVocab) wordPieceText(piece string, first bool) (string, error) {
	rest, starts := strings.CutPrefix(piece, spaceMark)
	if id, ok := v.ids[piece]; ok && v.kind(int(id)) != ggufNormal {
		starts = true
	}
	if starts && !first {
		rest = " " + rest
	}
	for _, c := range wordPieceCleanup {
		rest = strings.ReplaceAll(rest, c[0], c[1])
	}
	return rest, nil
}
