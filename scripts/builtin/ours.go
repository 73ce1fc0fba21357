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

var (
	days    = []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
	numbers = []string{"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	hours   = []string{"noon", "1 pm", "2 pm", "5 pm", "6 pm", "7 pm", "8 pm", "9 pm", "half past six", "half past seven"}
	inns    = []string{"the Red Fox", "the Golden Lion", "the Old Mill", "the White Horse", "the Blue Door", "the Ship", "the Three Crowns", "the King's Head", "the Green Man", "the Black Swan"}
	towns   = []string{"London", "Paris", "York", "Bath", "Oxford", "Dover", "Bristol", "Rome", "Vienna", "Berlin", "Madrid", "Dublin"}
	chores  = []string{"water the garden", "call my mother", "write to the doctor", "feed the horses", "buy some bread", "pay the rent", "mend the gate", "send the letter", "light the fire", "wash the windows"}
	whens   = []string{"today", "tomorrow", "tonight", "in the morning", "after dinner", "before breakfast", "at noon", "next week"}
	stories = []string{"the story", "the book", "the tale", "the letter", "the poem"}
	heroes  = []string{"the white rabbit", "the old king", "the three brothers", "the sea captain", "the little prince", "the lost ship", "the wild swans", "the clever fox", "the iron mask", "the snow queen"}
)

// field is a slot of the JSON that slots makes; the order is part of the format.
type field struct {
	name  string
	value any
}

// slots are requests, each as the JSON that a program would want.
func slots(reader) (learnt, held []row, err error) {
	learnt, held = made(12000, 500, func(r *rand.Rand) row {
		one := func(of []string) string { return of[r.IntN(len(of))] }
		say := func(format ...string) string { return one(format) }
		switch r.IntN(4) {
		case 0:
			n := r.IntN(len(numbers))
			inn, day, hour := one(inns), one(days), one(hours)
			text := fmt.Sprintf(say("Book a table for %[1]s at %[2]s on %[3]s at %[4]s.", "Please book a table for %[1]s at %[2]s on %[3]s at %[4]s.", "We are %[1]s and want to eat at %[2]s on %[3]s at %[4]s.", "A table at %[2]s for %[1]s, %[3]s at %[4]s, please."), numbers[n], inn, day, hour)
			return newRow(text, object(field{"do", "book"}, field{"place", inn}, field{"people", n + 2}, field{"day", day}, field{"time", hour}))
		case 1:
			from, to, day := one(towns), one(towns), one(days)
			text := fmt.Sprintf(say("I need a train from %[1]s to %[2]s on %[3]s.", "Which trains go from %[1]s to %[2]s on %[3]s?", "On %[3]s I want to go to %[2]s from %[1]s.", "Take me from %[1]s to %[2]s on %[3]s."), from, to, day)
			return newRow(text, object(field{"do", "travel"}, field{"from", from}, field{"to", to}, field{"day", day}))
		case 2:
			chore, when := one(chores), one(whens)
			text := fmt.Sprintf(say("Remind me to %[1]s %[2]s.", "Please remind me to %[1]s %[2]s.", "I must not forget to %[1]s %[2]s.", "Tell me %[2]s to %[1]s."), chore, when)
			return newRow(text, object(field{"do", "remind"}, field{"what", chore}, field{"when", when}))
		}
		story, hero, when := one(stories), one(heroes), one(whens)
		text := fmt.Sprintf(say("Read me %[1]s of %[2]s %[3]s.", "Please read me %[1]s about %[2]s %[3]s.", "I should like to hear %[1]s of %[2]s %[3]s.", "Will you read %[1]s about %[2]s %[3]s?"), story, hero, when)
		return newRow(text, object(field{"do", "read"}, field{"what", story}, field{"about", hero}, field{"when", when}))
	})
	return learnt, held, nil
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
