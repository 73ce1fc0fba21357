package tokenizer

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
