package tokenizer

import "slices"

// A template lays out one or two texts among special tokens.
type template []slot

// A slot is a special token's ids or, if those are empty, a text: 0 or 1.
type slot struct {
	ids    []int32
	text   int
	typeID int32
}

var (
	bareSingle = template{{text: 0}}
	barePair   = template{{text: 0}, {text: 1, typeID: 1}}
)

// around wraps one text.
func around(before, after []int32) template {
	var t template
	if len(before) > 0 {
		t = append(t, slot{ids: before})
	}
	t = append(t, slot{text: 0})
	if len(after) > 0 {
		t = append(t, slot{ids: after})
	}
	return t
}

// ends are the ids before and after the text of a template for one.
func (t template) ends() (before, after []int32) {
	ids := &before
	for _, s := range t {
		if len(s.ids) == 0 {
			ids = &after
		}
		*ids = append(*ids, s.ids...)
	}
	return before, after
}

// missing is what of before and after the ids of a text do not begin and end
// with themselves.
func missing(ids, before, after []int32) (lacksBefore, lacksAfter []int32) {
	if n := len(before); len(ids) < n || !slices.Equal(ids[:n], before) {
		lacksBefore = before
	}
	if n := len(after); len(ids) < n || !slices.Equal(ids[len(ids)-n:], after) {
		lacksAfter = after
	}
	return lacksBefore, lacksAfter
}
