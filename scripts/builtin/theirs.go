package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
)

// sentiment is SST-2, whose development set is held out.
func sentiment(read reader) (learnt, held []row, err error) {
	words := map[string]string{"0": "negative", "1": "positive"}
	rows := func(path string) (rows []row, err error) {
		b, err := read(path)
		if err != nil {
			return nil, err
		}
		lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		for i, line := range lines[1:] {
			sentence, label, _ := strings.Cut(line, "\t")
			if words[label] == "" {
				return nil, fmt.Errorf("%s:%d: label %q", path, i+2, label)
			}
			rows = append(rows, newRow(strings.TrimSpace(sentence), words[label]))
		}
		return rows, nil
	}
	if learnt, err = rows("data/glue/SST-2/train.tsv"); err == nil {
		held, err = rows("data/glue/SST-2/dev.tsv")
	}
	return learnt, held, err
}

// table reads two columns of a CSV file with a header.
func table(read reader, path string, header ...string) (rows [][]string, err error) {
	b, err := read(path)
	if err != nil {
		return nil, err
	}
	rows, err = csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err == nil && (len(rows) == 0 || !slices.Equal(rows[0], header)) {
		err = fmt.Errorf("its columns are not %v", header)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows[1:], nil
}

// restaurants are the sentences of E2E's development set; the first of each of the
// test set's facts is held out.
func restaurants(read reader) (learnt, held []row, err error) {
	rows, err := table(read, "data/nlg/e2e_devset.csv", "mr", "ref")
	if err != nil {
		return nil, nil, err
	}
	for _, r := range rows {
		learnt = append(learnt, newRow(r[0], r[1]))
	}
	if rows, err = table(read, "data/nlg/e2e_testset_w_refs.csv", "mr", "ref"); err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if !seen[r[0]] {
			held = append(held, newRow(r[0], r[1]))
		}
		seen[r[0]] = true
	}
	return learnt, held, nil
}

// intents are BANKING77's questions with their labels.
func intents(read reader) (learnt, held []row, err error) {
	rows := func(path string) (rows []row, err error) {
		cells, err := table(read, path, "text", "category")
		for _, r := range cells {
			rows = append(rows, newRow(strings.Join(strings.Fields(r[0]), " "), r[1]))
		}
		return rows, err
	}
	if learnt, err = rows("data/classification/banking77/train.csv"); err == nil {
		held, err = rows("data/classification/banking77/test.csv")
	}
	return learnt, held, err
}

// words is the longest speech, and the longest answer to one.
const words = 30

// speeches are those of plays, each with the one that follows; the last tenth is
// held out.
func speeches(read reader) (learnt, held []row, err error) {
	b, err := read("text/misc/tinyshakespeare.txt")
	if err != nil {
		return nil, nil, err
	}
	var all []string
	for _, block := range strings.Split(string(b), "\n\n") {
		if _, speech, ok := strings.Cut(block, ":\n"); ok {
			all = append(all, strings.Join(strings.Fields(speech), " "))
		}
	}
	for i, speech := range all[:max(len(all)-1, 0)] {
		answer := sentences(all[i+1], words)
		if speech == "" || answer == "" || len(strings.Fields(speech)) > words {
			continue
		}
		if i < len(all)*9/10 {
			learnt = append(learnt, newRow(speech, answer))
		} else {
			held = append(held, newRow(speech, answer))
		}
	}
	return learnt, held, nil
}

// sentences are as many whole sentences as there is room for in so many words.
func sentences(text string, most int) string {
	fields := strings.Fields(text)
	for n := min(len(fields), most); n > 0; n-- {
		if strings.ContainsAny(fields[n-1][len(fields[n-1])-1:], ".!?") {
			return strings.Join(fields[:n], " ")
		}
	}
	return ""
}
