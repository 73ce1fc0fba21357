package dataset

import (
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

const book = "\ufeffThe Project Gutenberg eBook of A Book\r\n\r\n*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***\r\n\r\n" +
	"A BOOK\r\n\r\nby\r\nNobody\r\n\r\n\r\n\r\n\r\n" +
	"CHAPTER I.\r\n\r\nThis line is long enough to have been broken for its length,\r\nand goes on here.\r\nIt ended there.\r\n\r\n" +
	"A line that is long enough to be broken, were it not for verse:\r\n  Up, down,\r\n  all around.\r\n\r\n\r\n\r\n\r\n\r\n" +
	"CHAPTER II.\r\n\r\nEnd.\r\n\r\n*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***\r\n\r\nUpdated editions will replace the previous one.\r\n"

// TestBooks: a book is its chapters, of joined lines.
func TestBooks(t *testing.T) {
	got, err := Documents(write(t, "book.txt", book), "books")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"A BOOK\n\nby\nNobody",
		"CHAPTER I.\n\nThis line is long enough to have been broken for its length, and goes on here.\nIt ended there.\n\n" +
			"A line that is long enough to be broken, were it not for verse:\nUp, down,\nall around.",
		"CHAPTER II.\n\nEnd.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	whole, err := Documents(write(t, "book.txt", book), "documents")
	if err != nil || len(whole) != 1 || whole[0] != strings.TrimPrefix(book, "\ufeff") {
		t.Errorf("%v: a document is not the file: %q", err, whole)
	}
}

// TestDocumentsRefused: what is no text is refused by file and line.
func TestDocumentsRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"another kind": {"a.jsonl", "{}", "are .txt files"},
		"empty":        {"a.txt", " \n\n", "no text"},
		"of no words":  {"a.txt", "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n*** END OF THIS PROJECT GUTENBERG EBOOK X ***", "no text"},
		"not UTF-8":    {"a.txt", "one\ntwo \xff", "a.txt:2: not UTF-8: ff"},
	} {
		if _, err := Documents(write(t, c.file, c.text), "books"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// corpusEncoder learns its tokenizer from the text.
func corpusEncoder(t *testing.T, text string, length int) *Encoder {
	t.Helper()
	trainer := &tokenizer.Trainer{Vocabulary: 280, Special: []string{"<|end|>"}}
	if err := trainer.Add(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	learnt, err := trainer.Train(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := learnt.Write(dir, tokenizer.Roles{EOS: "<|end|>"}, ""); err != nil {
		t.Fatal(err)
	}
	own, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &Encoder{Tokenizer: own, End: 0, Vocabulary: 280, MaxLength: length}
}

// TestCorpus: the windows of a document are its tokens, one after the other,
// with the end before and after them; every token but the first is predicted
// once, and their bytes are the text's.
func TestCorpus(t *testing.T) {
	path := write(t, "book.txt", book)
	texts, err := Documents(path, "books")
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{1, 7, 32, 1000} {
		e := corpusEncoder(t, book, length)
		c, err := OpenCorpus([]string{path, path}, e, "books")
		if err != nil {
			t.Fatal(err)
		}
		var stream, targets []int32
		for i := range c.Len() {
			s, err := c.Sequence(i)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Tokens) > length || len(s.Tokens) != len(s.Targets) || s.Labels() == 0 {
				t.Fatalf("window %d of %d tokens: %v", i, length, s)
			}
			if size := c.sizes(i)[0]; size.Rows != s.Last()+1 || size.Labels != s.Labels() {
				t.Errorf("window %d: %v", i, size)
			}
			stream, targets = append(stream, s.Tokens...), append(targets, s.Targets...)
		}
		var want, predicted []int32
		bytes := 0
		for _, text := range slices.Concat(texts, texts) {
			ids, err := e.Tokenizer.Encode(text, true)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(append([]int32{0}, ids...), 0)
			last := len(ids)
			if (last-1)%length == 0 { // the end alone predicts nothing
				last--
			}
			want = append(want, ids[:last]...)
			predicted = append(predicted, ids[1:]...)
			if last == len(ids) {
				predicted = append(predicted, None)
			}
			bytes += len(text)
		}
		if !slices.Equal(stream, want) {
			t.Errorf("windows of %d: %v\nwant %v", length, stream, want)
		}
		if !slices.Equal(targets, predicted) {
			t.Errorf("windows of %d predict %v\nwant %v", length, targets, predicted)
		}
		if n, ok := c.Bytes(); !ok || n != bytes {
			t.Errorf("windows of %d: %d bytes, want %d", length, n, bytes)
		}
		if r := c.Report(); r.Records != 6 || r.Tokens != len(want) || r.Labels != len(predicted)-count(predicted, None) {
			t.Errorf("windows of %d: %+v", length, r)
		}
		if texts := c.Texts(); len(texts) != 2 || texts[0].Title != "A BOOK" || texts[0].File != "book.txt" || texts[0].Documents != 3 {
			t.Errorf("%+v", texts)
		}
	}
}

func count(all []int32, of int32) (n int) {
	for _, v := range all {
		if v == of {
			n++
		}
	}
	return n
}

// TestCorpusParts: what is split off, or left out, is measured by itself.
func TestCorpusParts(t *testing.T) {
	c, err := OpenCorpus([]string{write(t, "book.txt", book)}, corpusEncoder(t, book, 16), "books")
	if err != nil {
		t.Fatal(err)
	}
	all := c.Len()
	whole, _ := c.Bytes()
	held, err := c.Split(0.25, 1)
	if err != nil {
		t.Fatal(err)
	}
	mine, _ := c.Bytes()
	if n, _ := held.(*Corpus).Bytes(); held.Len() != all/4 || c.Len() != all-all/4 || mine+n != whole {
		t.Errorf("%d and %d windows of %d, %d and %d bytes of %d", held.Len(), c.Len(), all, n, mine, whole)
	}
	if _, err := c.Split(0.001, 1); err == nil {
		t.Error("nothing was split off, and nothing said")
	}
	x, err := held.Example(0)
	if err != nil || x.Prompt() == "" || x.Answer() == "" {
		t.Errorf("%v: %+v", err, x)
	}
	held.Keep(1)
	if held.Len() != 1 {
		t.Errorf("%d windows are kept", held.Len())
	}
}

// TestCorpusRefuses a tokenizer of another base.
func TestCorpusRefuses(t *testing.T) {
	e := corpusEncoder(t, book, 16)
	e.Vocabulary = 100
	if _, err := OpenCorpus([]string{write(t, "book.txt", book)}, e, "books"); err == nil || !strings.Contains(err.Error(), "the tokenizer is not this base's") {
		t.Error(err)
	}
}
