package dataset

import "strings"

// yesNo are the answers of tasks that ask a question whose class 1 is a yes.
var yesNo = []string{" no", " yes"}

// entails are the classes of RTE and QNLI, of which the first is a yes.
var entails = []string{"entailment", "not_entailment"}

// sentences is a text each in the columns of those names.
func sentences(names ...string) (texts [][]string) {
	for _, name := range names {
		texts = append(texts, []string{name})
	}
	return texts
}

// inference is MNLI, on the file of those names.
func inference(dev ...string) *Task {
	return &Task{
		Metrics: []string{"accuracy"}, Classes: []string{"entailment", "neutral", "contradiction"}, Answers: []string{" yes", " maybe", " no"},
		texts: sentences("sentence1", "sentence2"), labels: []string{"gold_label", "label"}, dev: dev, prompt: follows,
	}
}

func follows(s []string) string {
	return s[0] + "\nQuestion: Does it follow that \"" + s[1] + "\"? Answer:"
}

// tasks are GLUE's by name. Columns of its archives come before Hugging Face's.
var tasks = map[string]*Task{
	"sst2": {
		Metrics: []string{"accuracy"}, Classes: []string{"negative", "positive"}, Answers: []string{" negative", " positive"},
		texts: sentences("sentence"), labels: []string{"label"},
		prompt: func(s []string) string { return "Review: " + strings.TrimSpace(s[0]) + "\nSentiment:" },
	},
	"cola": {
		Header: []string{"source", "label", "mark", "sentence"}, Metrics: []string{"matthews", "accuracy"}, table: []string{"matthews"},
		Classes: []string{"unacceptable", "acceptable"}, Answers: yesNo,
		texts: sentences("sentence"), labels: []string{"label"},
		prompt: func(s []string) string { return "Sentence: " + s[0] + "\nIs it grammatical? Answer:" },
	},
	"mrpc": {
		Metrics: []string{"f1", "accuracy"}, Classes: []string{"not_equivalent", "equivalent"}, Answers: yesNo,
		texts: [][]string{{"#1 String", "sentence1"}, {"#2 String", "sentence2"}}, labels: []string{"Quality", "label"},
		prompt: func(s []string) string {
			return "Sentence 1: " + s[0] + "\nSentence 2: " + s[1] + "\nDo they mean the same? Answer:"
		},
	},
	"qqp": {
		Metrics: []string{"f1", "accuracy"}, Classes: []string{"not_duplicate", "duplicate"}, Answers: yesNo,
		texts: sentences("question1", "question2"), labels: []string{"is_duplicate", "label"},
		prompt: func(s []string) string {
			return "Question 1: " + s[0] + "\nQuestion 2: " + s[1] + "\nDo they ask the same? Answer:"
		},
	},
	"stsb": {
		Metrics: []string{"pearson", "spearman"}, Answers: []string{" 0", " 1", " 2", " 3", " 4", " 5"},
		texts: sentences("sentence1", "sentence2"), labels: []string{"score", "label"},
		prompt: func(s []string) string {
			return "Sentence 1: " + s[0] + "\nSentence 2: " + s[1] + "\nSimilarity from 0 to 5:"
		},
	},
	"mnli":           inference("dev_matched", "validation_matched"),
	"mnlimismatched": inference("dev_mismatched", "validation_mismatched"),
	"qnli": {
		Metrics: []string{"accuracy"}, Classes: entails, Answers: []string{" yes", " no"},
		texts: sentences("question", "sentence"), labels: []string{"label"},
		prompt: func(s []string) string {
			return "Question: " + s[0] + "\nText: " + s[1] + "\nIs the answer in the text? Answer:"
		},
	},
	"rte": {
		Metrics: []string{"accuracy"}, Classes: entails, Answers: []string{" yes", " no"},
		texts: sentences("sentence1", "sentence2"), labels: []string{"label"}, prompt: follows,
	},
	"wnli": {
		Metrics: []string{"accuracy"}, Classes: []string{"not_entailment", "entailment"}, Answers: yesNo,
		texts: sentences("sentence1", "sentence2"), labels: []string{"label"}, prompt: follows,
	},
}
