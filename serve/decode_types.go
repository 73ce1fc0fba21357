package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// textOrList is one string or several.
type textOrList []string

func (t *textOrList) decodeField(path string, raw json.RawMessage) error {
	switch classOf(raw) {
	case 'n':
		return nil
	case '"':
		*t = make(textOrList, 1)
		return decodeInto(path, raw, &(*t)[0])
	case '[':
		var list []string
		if err := decodeInto(path, raw, &list); err != nil {
			return err
		}
		*t = list
		return nil
	}
	return wrongType(path, raw, "a string or an array of strings")
}

// stopStrings are the texts that end an answer: one or several. An empty one, which
// programs send that have a field to fill in, is none.
type stopStrings []string

func (s *stopStrings) decodeField(path string, raw json.RawMessage) error {
	if string(raw) == `""` {
		return nil
	}
	return (*textOrList)(s).decodeField(path, raw)
}

// prompts is what /v1/completions continues: a text, token ids, or an array of
// either.
type prompts []prompt

// prompt is one text or the ids of its tokens.
type prompt struct {
	text   string
	tokens []int32 // not nil: the prompt is given in tokens
}

func (p *prompts) decodeField(path string, raw json.RawMessage) error {
	const want = "a string, an array of strings, an array of token ids, or an array of such arrays"
	switch classOf(raw) {
	case '"':
		*p = make(prompts, 1)
		return decodeInto(path, raw, &(*p)[0].text)
	case '[':
		switch n := counted(raw); {
		case n == 0:
			return &fieldError{path, "is an empty array: give at least one prompt"}
		case classOf(skipSpace(raw[1:])) == '0':
			*p = make(prompts, 1)
			return decodeInto(path, raw, &(*p)[0].tokens)
		case n > maxSequences:
			return &fieldError{path, fmt.Sprintf("has %d prompts: give at most %d", n, maxSequences)}
		default:
			*p = make(prompts, n)
		}
		for i, e := range elements(raw) {
			at := fmt.Sprintf("%s[%d]", path, i)
			var err error
			switch classOf(e) {
			case '"':
				err = decodeInto(at, e, &(*p)[i].text)
			case '[':
				err = decodeInto(at, e, &(*p)[i].tokens)
			default:
				err = wrongType(at, e, "a string or an array of token ids")
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return wrongType(path, raw, want)
}

// maxBiases is the most tokens that logit_bias may name; OpenAI takes 300.
const maxBiases = 1024

// biases is logit_bias: token ids, as strings, to what is added to their
// logits.
type biases map[int32]float32

func (b *biases) decodeField(path string, raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	if n := counted(raw); n > maxBiases {
		return &fieldError{path, fmt.Sprintf("has %d tokens: give at most %d", n, maxBiases)}
	}
	var byName map[string]float64
	if err := decodeInto(path, raw, &byName); err != nil {
		return err
	}
	*b = make(biases, len(byName))
	var wrong []string // no token ids
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		n, err := strconv.ParseInt(name, 10, 32)
		v := byName[name]
		if err != nil || n < 0 || strconv.FormatInt(n, 10) != name { // one spelling, lest two name one token
			wrong = append(wrong, name)
			continue
		}
		if v < -100 || v > 100 {
			return &fieldError{join(path, name), "is outside -100 to 100"}
		}
		(*b)[int32(n)] = float32(v)
	}
	switch len(wrong) {
	case 0:
		return nil
	case 1:
		return &fieldError{join(path, wrong[0]), "is not a token id"}
	}
	return &fieldError{join(path, wrong[0]), "is not a token id, nor is " + strings.Join(wrong[1:min(len(wrong), 9)], ", nor ")}
}
