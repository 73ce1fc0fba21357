package dataset

import (
	"slices"
	"strings"
)

// inert are the columns of public data sets that say where a row comes from or
// of what kind it is, and nothing about what is to be learnt.
var inert = map[string][]string{
	"a row's number or name": {
		"id", "_id", "idx", "index", "__index_level_0__", "uid", "uuid", "guid", "hash", "row_id", "prompt_id", "message_id",
		"conversation_id", "conv_id", "dialog_id", "dialogue_id", "question_id", "example_id", "sample_id", "instruction_id", "task_id", "thread_id",
	},
	"its origin": {
		"source", "sources", "src", "origin", "original_source", "dataset", "dataset_name", "data_source", "subset", "split", "file", "filename",
		"path", "url", "link", "license", "licence", "author", "date", "timestamp", "created_at", "updated_at", "version",
		"model", "model_name", "generator", "annotator", "metadata", "meta", "info",
	},
	"its kind": {
		"category", "categories", "topic", "topics", "subtopic", "subcategory", "domain", "task", "task_type", "task_name", "type",
		"tags", "difficulty", "level", "language", "lang", "locale",
	},
	"a measure of it": {
		"score", "scores", "rating", "quality", "likes", "views", "upvotes", "num_tokens", "token_count", "n_tokens", "length", "num_turns", "turns", "turn_count",
	},
}

// mayAnswer are those of them that are the answer where a row has a text and no
// other, as in sets for classification.
var mayAnswer = []string{
	"category", "categories", "topic", "topics", "subtopic", "subcategory", "type", "tags", "difficulty", "level", "score", "scores", "rating", "quality",
}

// nearness are those of them that may tell how near two texts are.
var nearness = []string{"score", "scores", "rating"}

// unread refuses a record with a column that says something and that nothing
// reads. all are the names of columns, those of other formats too.
func unread(r *Record, f Format, all Columns) error {
	reads := f.Reads()
	_, alone := f.(textFormat)
	_, headed := f.(*labelFormat)
	for _, c := range r.Columns() {
		if slices.Contains(reads, c) || r.blank(c) {
			continue
		}
		if c == all.Label && !headed {
			return r.fault("column %q is not read where text is learnt: peft-train run --objective classify (or multi-label, or regress) learns it with a head; --ignore-columns %[1]s passes over it", c)
		}
		if alone && slices.Contains(mayAnswer, strings.ToLower(c)) {
			return r.fault("column %q is not read beside a text: where it is the answer, --prompt-column %s --completion-column %[1]s learns it, and --objective classify --label-column %[1]s as a class; --ignore-columns %[1]s passes over it", c, reads[0])
		}
		if near, ok := f.(*comparedFormat); ok && !near.scored && slices.Contains(nearness, strings.ToLower(c)) {
			return r.fault("column %q is not read beside %s and %s: call the texts %s and %s and the number %s, and it is learnt; --ignore-columns %[1]s passes over it", c, anchorColumn, positiveColumn, firstColumn, secondColumn, scoreColumn)
		}
		if isInert(c) {
			continue
		}
		return r.fault("column %q is not read: what it says would be lost (read are %s); --ignore-columns %[1]s passes over it", c, strings.Join(reads, ", "))
	}
	return nil
}

func isInert(column string) bool {
	for _, names := range inert {
		if slices.Contains(names, strings.ToLower(column)) {
			return true
		}
	}
	return false
}
