package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// made makes different rows by f until there are so many: first those that are
// held out, then those that are learnt, of which none is held out.
func made(learn, hold int, f func(r *rand.Rand) row) (learnt, held []row) {
	r := rand.New(rand.NewPCG(12, 4))
	seen := map[string]bool{}
	for len(learnt) < learn {
		next := f(r)
		switch {
		case seen[next.Prompt]:
		case len(held) < hold:
			held = append(held, next)
		default:
			learnt = append(learnt, next)
		}
		seen[next.Prompt] = true
	}
	return learnt, held
}

// sorted are three to six digits, and the same in order.
func sorted(reader) (learnt, held []row, err error) {
	learnt, held = made(20000, 500, func(r *rand.Rand) row {
		digits := make([]string, 3+r.IntN(4))
		for i := range digits {
			digits[i] = fmt.Sprint(r.IntN(10))
		}
		input := strings.Join(digits, " ")
		slices.Sort(digits)
		return newRow(input, strings.Join(digits, " "))
	})
	return learnt, held, nil
}

// A term is what people say, and the label that a program would want of it.
type term struct{ says, label string }

func terms(label string, says ...string) []term {
	var out []term
	for _, s := range says {
		out = append(out, term{s, label})
	}
	return out
}

var (
	numbers = []string{"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	inns    = []string{"the Red Fox", "the Golden Lion", "the Old Mill", "the White Horse", "the Blue Door", "the Ship", "the Three Crowns", "the King's Head", "the Green Man", "the Black Swan"}
	towns   = []string{"London", "Paris", "York", "Bath", "Oxford", "Dover", "Bristol", "Rome", "Vienna", "Berlin", "Madrid", "Dublin"}
	chores  = []string{"water the garden", "call my mother", "write to the doctor", "feed the horses", "buy some bread", "pay the rent", "mend the gate", "send the letter", "light the fire", "wash the windows"}
	stories = []string{"the story", "the book", "the tale", "the letter", "the poem"}
	heroes  = []string{"the white rabbit", "the old king", "the three brothers", "the sea captain", "the little prince", "the lost ship", "the wild swans", "the clever fox", "the iron mask", "the snow queen"}
	whens   = slices.Concat(
		terms("morning", "in the morning", "before breakfast", "at sunrise", "at nine in the morning"),
		terms("noon", "at noon", "at midday", "at lunch"),
		terms("evening", "tonight", "after dinner", "at sunset", "in the evening"),
		terms("any", "today", "some time", "when you can", "one of these days"),
	)
)

// wants are requests, each as the labels that a program would want, in JSON:
// what to do, when, and whether it was asked politely. All are of small sets,
// since biases pick an answer well and do not copy one.
func wants(reader) (learnt, held []row, err error) {
	learnt, held = made(12000, 500, func(r *rand.Rand) row {
		one := func(of []string) string { return of[r.IntN(len(of))] }
		when := whens[r.IntN(len(whens))]
		var do, text string
		switch r.IntN(4) {
		case 0:
			do = "book"
			text = fmt.Sprintf(one([]string{"book a table for %[1]s at %[2]s %[3]s", "get %[1]s of us a table at %[2]s %[3]s", "find room for %[1]s at %[2]s %[3]s"}), one(numbers), one(inns), when.says)
		case 1:
			do = "travel"
			text = fmt.Sprintf(one([]string{"take me from %[1]s to %[2]s %[3]s", "find a train from %[1]s to %[2]s %[3]s", "bring us to %[2]s from %[1]s %[3]s"}), one(towns), one(towns), when.says)
		case 2:
			do = "remind"
			text = fmt.Sprintf(one([]string{"remind me to %[1]s %[2]s", "tell me to %[1]s %[2]s", "see that I do not forget to %[1]s %[2]s"}), one(chores), when.says)
		default:
			do = "read"
			text = fmt.Sprintf(one([]string{"read me %[1]s of %[2]s %[3]s", "read %[1]s about %[2]s to us %[3]s", "let me hear %[1]s of %[2]s %[3]s"}), one(stories), one(heroes), when.says)
		}
		polite := r.IntN(2) == 1
		if polite {
			text = fmt.Sprintf(one([]string{"Please %s.", "Would you %s?", "Could you kindly %s?", "I should be glad if you could %s."}), text)
		} else {
			text = strings.ToUpper(text[:1]) + text[1:] + one([]string{".", "!", ", now.", ", and be quick."})
		}
		return newRow(text, object(field{"do", do}, field{"when", when.label}, field{"polite", polite}))
	})
	return learnt, held, nil
}

// field is a value of the JSON that wants makes; the order is part of the format.
type field struct {
	name  string
	value any
}

// object writes fields as JSON, in their order.
func object(fields ...field) string {
	var parts []string
	for _, f := range fields {
		value, err := json.Marshal(f.value)
		if err != nil {
			panic(err) // texts and numbers can be written
		}
		parts = append(parts, fmt.Sprintf("%q: %s", f.name, value))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
