package kernels

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestInstructionCounts counts the instructions for one multiply-add in the
// innermost loops of the arm64 products, and for 256 of integers, and demands the
// tables of ADR 10.
func TestInstructionCounts(t *testing.T) {
	products, fused := functionsOf(t, "neon_arm64.s"), functionsOf(t, "fused_neon_arm64.s")
	var table strings.Builder
	table.WriteString("| rows | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range Formats() {
		fmt.Fprintf(&table, "| %s |", f)
		for rows := 1; rows <= 8; rows++ {
			body := fused[fmt.Sprintf("fused%s_%dNEON", f, rows)]
			fmt.Fprintf(&table, " %.2f |", perProduct(t, body, "steps", floatProducts))
		}
		table.WriteString("\n")
	}
	fmt.Fprintf(&table, "\n| many rows, 5 × 4 | gradients, 6 × 16 |\n|---|---|\n| %.2f | %.2f |\n",
		perProduct(t, products["dot5x4NEON"], "by8", floatProducts), perProduct(t, products["outer6x16NEON"], "loop", floatProducts))
	holdsTable(t, table.String())
}

// TestInt8InstructionCounts is TestInstructionCounts for 256 multiply-adds of integers.
func TestInt8InstructionCounts(t *testing.T) {
	functions := functionsOf(t, "int8_neon_arm64.s")
	var table strings.Builder
	table.WriteString("| rows | 1 | 2 | 3 | 4 | many, `sdot` | many, `smmla` | 1, ARMv8.0 | 2, ARMv8.0 |\n|---|---|---|---|---|---|---|---|---|\n")
	kinds := map[Format]string{Q8_0: "Plain", Q4_0: "Plain", Q5_0: "Plain", Q6_K: "Halves"} // others have minima
	for _, f := range quantised() {
		fmt.Fprintf(&table, "| %s |", f)
		for rows := 1; rows <= 4; rows++ {
			fmt.Fprintf(&table, " %.0f |", 256*perProduct(t, functions[fmt.Sprintf("int8%s_%dNEON", f, rows)], "blocks", integerProducts))
		}
		for _, of := range []string{"NEON", "MatrixNEON"} {
			tile := functions["int8Tile"+cmp.Or(kinds[f], "Min")+of]
			fmt.Fprintf(&table, " %.0f |", 256*perProduct(t, tile, "blocks", integerProducts))
		}
		for rows := 1; rows <= 2; rows++ {
			fmt.Fprintf(&table, " %.0f |", 256*perProduct(t, functions[fmt.Sprintf("int8Long%s_%dNEON", f, rows)], "blocks", integerProducts))
		}
		table.WriteString("\n")
	}
	holdsTable(t, table.String())
}

// TestCachedInstructionCounts is TestInstructionCounts for keys and values of the cache.
func TestCachedInstructionCounts(t *testing.T) {
	rows, cached := functionsOf(t, "row_neon_arm64.s"), functionsOf(t, "cached_neon_arm64.s")
	var table strings.Builder
	table.WriteString("| queries | 1 | 2 | 3 | 4 |\n|---|---|---|---|---|\n")
	for _, step := range []struct{ name, loop, wideLoop string }{{"scores", "group0Dimensions", "dimension"}, {"values", "position0", "position32"}} {
		for _, f := range KVFormats() {
			fmt.Fprintf(&table, "| %s, %s |", step.name, f)
			for queries := 1; queries <= 4; queries++ {
				body, loop := cached[fmt.Sprintf("%s%s_%dNEON", step.name, f, queries)], step.loop
				if f == F32 {
					body, loop = rows[fmt.Sprintf("%s%dNEON", step.name, queries)], step.wideLoop
				}
				if body == nil {
					table.WriteString(" |")
					continue
				}
				fmt.Fprintf(&table, " %.2f |", perProduct(t, body, loop, floatProducts))
			}
			table.WriteString("\n")
		}
	}
	holdsTable(t, table.String())
}

// holdsTable demands that ADR 10 has a table.
func holdsTable(t *testing.T, table string) {
	t.Helper()
	document, err := os.ReadFile("../docs/adr/0010-arm64-kernels.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), table) {
		t.Errorf("docs/adr/0010-arm64-kernels.md does not have these tables:\n%s", table)
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

// What multiplies and adds, as it is written, and how many single values each does.
var (
	floatProducts   = map[string]int{"\tVFMLA ": 4, "// fmla ": 4}
	integerProducts = map[string]int{"// sdot ": 16, "// smmla ": 32, "// smull ": 8, "// smull2 ": 8, "// smlal ": 8, "// smlal2 ": 8}
)

// perProduct is the number of instructions of a loop over that of its
// multiply-adds of single values. A loop within it, "part", runs as often as
// the count says that is set before it.
func perProduct(t *testing.T, body []string, loop string, of map[string]int) float64 {
	instructions, products, times, count := 0, 0, 0, 1
	for _, line := range body {
		switch {
		case line == loop+":":
			times = 1
		case times == 0:
		case line == "part:":
			times = count
		case strings.HasPrefix(line, "\t"):
			instructions += times
			for written, values := range of {
				if strings.Contains(line, written) {
					products += times * values
				}
			}
			if n, _ := fmt.Sscanf(line, "\tMOVD $%d", &count); n == 0 && line == "\tBNE part" {
				times = 1
			}
			if strings.HasPrefix(line, "\tB") && strings.HasSuffix(line, " "+loop) {
				return float64(instructions) / float64(products)
			}
		}
	}
	t.Fatalf("no loop %s in %s", loop, body[0])
	return 0
}
