package metric

import "strings"

// Found is how the entities that were found agree with those that are there: a whole
// entity counts, with its kind and both its ends.
type Found struct{ Precision, Recall, F1 float64 }

// entity is a run of tokens of a text.
type entity struct {
	kind             string
	text, start, end int
}

// Entities compares the tags of the tokens of texts, as IOB2 has them, "B-PER",
// "I-PER" and "O": an entity begins at B, or at an I of another kind than what is
// before it (seqeval's default, which is conlleval's).
func Entities(labels, chosen [][]string) Found {
	want, got := entities(labels), entities(chosen)
	right := 0.0
	for e := range got {
		if want[e] {
			right++
		}
	}
	return Found{
		Precision: ratio(right, float64(len(got))), Recall: ratio(right, float64(len(want))),
		F1: ratio(2*right, float64(len(got)+len(want))),
	}
}

// entities are those of all texts.
func entities(texts [][]string) map[entity]bool {
	all := map[entity]bool{}
	for n, tags := range texts {
		kind, start := "", -1 // of the one that is open
		for i := 0; i <= len(tags); i++ {
			tag, k := "O", ""
			if i < len(tags) {
				tag, k = split(tags[i])
			}
			if start >= 0 && (tag != "I" || k != kind) {
				all[entity{kind, n, start, i}] = true
				start = -1
			}
			if start < 0 && tag != "O" {
				kind, start = k, i
			}
		}
	}
	return all
}

// split parts a tag from the kind of entity.
func split(tag string) (letter, kind string) {
	letter, kind, _ = strings.Cut(tag, "-")
	return letter, kind
}

// IsIOB2 reports whether the names of classes are tags of IOB2, so that they have
// entities.
func IsIOB2(names []string) bool {
	begins := false
	for _, name := range names {
		switch letter, kind := split(name); {
		case name == "O":
		case (letter == "B" || letter == "I") && kind != "":
			begins = begins || letter == "B"
		default:
			return false
		}
	}
	return begins
}
