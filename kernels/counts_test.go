package kernels

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestInstructionCounts counts the instructions for one multiply-add in the
// innermost loops of the arm64 products, and demands the tables of ADR 10.
func TestInstructionCounts(t *testing.T) {
	products, fused := functionsOf(t, "neon_arm64.s"), functionsOf(t, "fused_neon_arm64.s")
	var table strings.Builder
	table.WriteString("| rows | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range Formats() {
		fmt.Fprintf(&table, "| %s |", f)
		for rows := 1; rows <= 8; rows++ {
			body := fused[fmt.Sprintf("fused%s_%dNEON", f, rows)]
			fmt.Fprintf(&table, " %.2f |", perProduct(t, body, "steps"))
		}
		table.WriteString("\n")
	}
	fmt.Fprintf(&table, "\n| many rows, 5 × 4 | gradients, 6 × 16 |\n|---|---|\n| %.2f | %.2f |\n",
		perProduct(t, products["dot5x4NEON"], "by8"), perProduct(t, products["outer6x16NEON"], "loop"))
	document, err := os.ReadFile("../docs/adr/0010-arm64-kernels.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), table.String()) {
		t.Errorf("docs/adr/0010-arm64-kernels.md does not have these tables:\n%s", &table)
	}
}

// functionsOf returns the lines of a file's functions.
func functionsOf(t *testing.T, name string) map[string][]string {
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string][]string{}
	for _, text := range strings.Split(string(source), "\nTEXT ·")[1:] {
		name, body, _ := strings.Cut(text, "(SB)")
		functions[name] = strings.Split(body, "\n")
	}
	return functions
}

var multiplyAdd = regexp.MustCompile(`\tVFMLA |// fmla `)

// perProduct is the number of instructions of a loop over that of its
// multiply-adds of single values. A loop within it, "part", runs as often as
// the count says that is set before it.
func perProduct(t *testing.T, body []string, loop string) float64 {
	instructions, vectors, times, count := 0, 0, 0, 1
	for _, line := range body {
		switch {
		case line == loop+":":
			times = 1
		case times == 0:
		case line == "part:":
			times = count
		case strings.HasPrefix(line, "\t"):
			instructions += times
			if multiplyAdd.MatchString(line) {
				vectors += times
			}
			if n, _ := fmt.Sscanf(line, "\tMOVD $%d", &count); n == 0 && line == "\tBNE part" {
				times = 1
			}
			if strings.HasPrefix(line, "\tB") && strings.HasSuffix(line, " "+loop) {
				return float64(instructions) / float64(4*vectors)
			}
		}
	}
	t.Fatalf("no loop %s in %s", loop, body[0])
	return 0
}
