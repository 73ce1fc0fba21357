package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// table writes rows of cells in columns, the first left, the rest right.
type table struct{ rows [][]string }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := 0
	for _, r := range t.rows {
		width = max(width, len([]rune(r[0])))
	}
	for _, r := range t.rows {
		first := r[0] + strings.Repeat(" ", width-len([]rune(r[0])))
		if _, err := fmt.Fprintln(out, strings.Join(append([]string{first}, r[1:]...), "\t")+"\t"); err != nil {
			return err
		}
	}
	return out.Flush()
}

// writeJSON writes v indented.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// grouped writes a number with commas between thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// byteSize writes a number of bytes in decimal units, as memory accounts do.
func byteSize(n float64) string { return scaled(n, "B") }

// scaled writes a number with a decimal prefix to its unit.
func scaled(n float64, unit string) string {
	for _, p := range []struct {
		prefix string
		size   float64
	}{{"P", 1e15}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if n >= p.size {
			return strconv.FormatFloat(n/p.size, 'f', digits(n/p.size), 64) + " " + p.prefix + unit
		}
	}
	return strconv.FormatFloat(n, 'f', 0, 64) + " " + unit
}

func digits(n float64) int {
	switch {
	case n >= 100:
		return 0
	case n >= 10:
		return 1
	}
	return 2
}
