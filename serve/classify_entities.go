package serve

import (
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// entity is a token that a head has classified or, aggregated, several that follow
// each other, as transformers' TokenClassificationPipeline has them. Start and End
// count characters.
type entity struct {
	Entity string  `json:"entity,omitempty"`
	Group  string  `json:"entity_group,omitempty"`
	Score  float64 `json:"score"`
	Index  int     `json:"index,omitempty"` // of the token, those around the text included
	Word   string  `json:"word"`
	Start  int     `json:"start"`
	End    int     `json:"end"`

	id int32
}

// entities are those of a text, without the classes to be ignored: each token that
// is none of those around the text or, with simple, groups of them.
func entities(t *tokenizer.Tokenizer, classes *models.Classes, text *classified, simple bool, ignore []string) []entity {
	var all []entity
	runes := []rune(text.text)
	for i := text.around[0]; i < len(text.ids)-text.around[1]; i++ {
		id := text.ids[i]
		best, at := highest(text.scores[i]), text.spans[i]
		e := entity{Entity: classes.Names[best], Score: text.scores[i][best], Index: i, Word: t.Token(id), Start: at.Start, End: at.End, id: id}
		if unknown, ok := t.Role("unk_token"); ok && id == unknown {
			e.Word = string(runes[at.Start:at.End])
		}
		all = append(all, e)
	}
	if simple {
		all = grouped(t, all)
	}
	kept := []entity{}
	for _, e := range all {
		if !slices.Contains(ignore, e.Entity) && !slices.Contains(ignore, e.Group) {
			kept = append(kept, e)
		}
	}
	return kept
}

// grouped joins entities that follow each other and are of one kind: a B- begins
// another.
func grouped(t *tokenizer.Tokenizer, all []entity) (groups []entity) {
	for len(all) > 0 {
		n := 1
		for n < len(all) && continues(all[n-1].Entity, all[n].Entity) {
			n++
		}
		groups = append(groups, merged(t, all[:n]))
		all = all[n:]
	}
	return groups
}

func continues(last, next string) bool {
	_, kind := tagOf(last)
	begins, same := tagOf(next)
	return kind == same && !begins
}

// tagOf reads the name of a class as one of B- and I-; any other is within.
func tagOf(name string) (begins bool, kind string) {
	if kind, ok := strings.CutPrefix(name, "B-"); ok {
		return true, kind
	}
	return false, strings.TrimPrefix(name, "I-")
}

// merged makes one entity of several, whose score is their mean.
func merged(t *tokenizer.Tokenizer, parts []entity) entity {
	first, last := parts[0], parts[len(parts)-1]
	e := entity{Group: first.Entity, Start: first.Start, End: last.End}
	if _, kind, ok := strings.Cut(first.Entity, "-"); ok {
		e.Group = kind
	}
	unknown, hasUnknown := t.Role("unk_token")
	var words []string
	var known []int32
	decode := func() {
		if len(known) > 0 {
			words, known = append(words, t.Decode(known, false)), nil
		}
	}
	for _, p := range parts {
		e.Score += p.Score / float64(len(parts))
		if hasUnknown && p.id == unknown {
			decode()
			words = append(words, p.Word)
		} else {
			known = append(known, p.id)
		}
	}
	decode()
	e.Word = strings.Join(words, " ")
	return e
}
