package main

import (
	"math/rand/v2"
	"strings"
)

// ticket is a message of a customer's with the department that it is for: what
// quickstart's adapter learns.
type ticket struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
}

// departments are what messages to each say, with a THING and a DAY.
var departments = []struct {
	name     string
	messages []string
}{
	{"delivery", []string{
		"My THING has not come yet.", "Where is the THING that was sent on DAY?", "The carrier left my THING at the wrong house on DAY.",
		"Can you bring the THING on DAY instead?", "I wait for my THING since DAY.", "When will the THING arrive?",
	}},
	{"billing", []string{
		"I was charged twice for the THING.", "The price of the THING on my bill of DAY is wrong.", "May I pay for the THING on DAY?",
		"Please send me the bill for the THING.", "The THING cost less on DAY than you took from me.", "I paid for the THING on DAY and you ask for money again.",
	}},
	{"returns", []string{
		"The THING is broken and I want to send it back.", "I do not like the THING. How do I return it?", "The THING that came on DAY is too small, take it back.",
		"Can I change the THING for another one?", "I sent the THING back on DAY.", "The THING does not work, I want another.",
	}},
	{"account", []string{
		"I cannot sign in to see my THING.", "Please change my address before DAY.", "I have forgotten my password since DAY.",
		"Somebody ordered a THING in my name.", "How do I change the name on my account?", "My letter of DAY asked you to close my account.",
	}},
}

// things are what is bought; the second half is never learnt.
var things = []string{
	"lamp", "chair", "book", "coat", "clock", "table", "mirror", "kettle", "hat", "bed",
	"shelf", "watch", "carpet", "bottle", "ring", "desk", "cup", "saddle", "knife", "bell",
}

var weekdays = []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

// tickets makes n of them, the same of each seed, about things that are learnt or
// others.
func tickets(n int, seed uint64, held bool) []ticket {
	r := rand.New(rand.NewPCG(seed, 0))
	of := things[:len(things)/2]
	if held {
		of = things[len(things)/2:]
	}
	rows := make([]ticket, n)
	for i := range rows {
		to := departments[r.IntN(len(departments))]
		message := strings.NewReplacer("THING", of[r.IntN(len(of))], "DAY", weekdays[r.IntN(len(weekdays))]).Replace(to.messages[r.IntN(len(to.messages))])
		rows[i] = ticket{"Input: " + message + "\nOutput:", " " + to.name}
	}
	return rows
}
