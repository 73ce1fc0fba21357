package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Formats of files that are no records but texts to learn a language from: a
// file is one document, or a book in the form of Project Gutenberg's.
const (
	documentsFormat = "documents"
	booksFormat     = "books"
)

// IsText reports whether files of a format are read by Documents.
func IsText(format string) bool { return format == documentsFormat || format == booksFormat }

// Documents reads a .txt file as the documents that it holds.
func Documents(path, format string) ([]string, error) {
	if ext := strings.ToLower(filepath.Ext(path)); ext != ".txt" {
		return nil, fmt.Errorf("%s: %s are .txt files", path, format)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if !utf8.Valid(b) {
		at := invalid(b)
		return nil, fmt.Errorf("%s:%d: not UTF-8: % x", path, 1+bytes.Count(b[:at], []byte("\n")), b[at:min(len(b), at+4)])
	}
	all := []string{string(b)}
	if format == booksFormat {
		all = chapters(all[0])
	}
	if len(all) == 0 || strings.TrimSpace(all[0]) == "" {
		return nil, fmt.Errorf("%s: no text", path)
	}
	return all, nil
}

var (
	// gutenbergStart and gutenbergEnd are the lines between which the book is.
	gutenbergStart = regexp.MustCompile(`(?mi)^\*\*\* ?START OF TH(E|IS) PROJECT GUTENBERG EBOOK.*$`)
	gutenbergEnd   = regexp.MustCompile(`(?mi)^\*\*\* ?END OF TH(E|IS) PROJECT GUTENBERG EBOOK.*$`)
	// chapterBreak is three empty lines or more.
	chapterBreak   = regexp.MustCompile(`\n(?:[ \t]*\n){3,}`)
	paragraphBreak = regexp.MustCompile(`\n(?:[ \t]*\n)+`)
)

// chapters takes a book apart where three or more lines are empty, and joins
// the lines of its paragraphs. What Project Gutenberg says before and after the
// book is left out.
func chapters(book string) []string {
	book = strings.ReplaceAll(book, "\r\n", "\n")
	if at := gutenbergStart.FindStringIndex(book); at != nil {
		book = book[at[1]:]
	}
	if at := gutenbergEnd.FindStringIndex(book); at != nil {
		book = book[:at[0]]
	}
	var all []string
	for _, chapter := range chapterBreak.Split(book, -1) {
		var paragraphs []string
		for _, p := range paragraphBreak.Split(chapter, -1) {
			if p = joined(p); p != "" {
				paragraphs = append(paragraphs, p)
			}
		}
		if len(paragraphs) > 0 {
			all = append(all, strings.Join(paragraphs, "\n\n"))
		}
	}
	return all
}

// fullLine is the length, in characters, from which on a line goes on in the
// next one. Verse, headings and tables have shorter lines.
const fullLine = 50

// joined makes one line of those lines of a paragraph that were broken for
// their length.
func joined(paragraph string) string {
	var b strings.Builder
	before := 0 // the length of the line before
	for line := range strings.SplitSeq(paragraph, "\n") {
		text := strings.TrimSpace(line)
		switch indented := text != "" && !strings.HasPrefix(line, text[:1]); {
		case text == "":
			continue
		case b.Len() == 0:
		case before >= fullLine && !indented:
			b.WriteByte(' ')
		default:
			b.WriteByte('\n')
		}
		b.WriteString(text)
		before = utf8.RuneCountInString(text)
	}
	return b.String()
}
