package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/peft-serve/peft-serve/internal/processor"
	"github.com/peft-serve/peft-serve/internal/sample"
)

// table is Markdown: of each load the tokens a second by the number of threads, how many
// times those on the fewest threads they are, and the share of what as many times the
// threads could at best.
func (b *bench) table() string {
	var s strings.Builder
	rounds := len(b.rates[row{sizes[0].name, sizes[0].loads()[0]}][0])
	fmt.Fprintf(&s, "%s; processors: %d; %s kernels, %s/%s; median of %d; LoRA is of rank %s on all linears.\n\n",
		processor.Name(), runtime.NumCPU(), b.kernels, runtime.GOOS, runtime.GOARCH, rounds, rank)
	s.WriteString("| tokens/s by threads | |")
	for _, n := range b.threads {
		fmt.Fprintf(&s, " %d |", n)
	}
	s.WriteString("\n|---|---|" + strings.Repeat("---:|", len(b.threads)) + "\n")
	for _, size := range sizes {
		name := size.name
		for _, load := range size.loads() {
			rates := b.rates[row{size.name, load}]
			fmt.Fprintf(&s, "| %s | %s |", name, load)
			for i, n := range b.threads {
				s.WriteString(" " + rateText(sample.Median(rates[i])))
				if i > 0 {
					times := speedUp(rates[i], rates[0])
					fmt.Fprintf(&s, " (%.2f ×, %.0f %%)", times, 100*times*float64(b.threads[0])/float64(n))
				}
				s.WriteString(" |")
			}
			s.WriteString("\n")
			name = "" // it stands in the first line alone
		}
	}
	return s.String()
}

// speedUp is the median of the ratios of each round.
func speedUp(rates, first []float64) float64 {
	ratios := make([]float64, len(rates))
	for i := range rates {
		ratios[i] = rates[i] / first[i]
	}
	return sample.Median(ratios)
}

// rateText has three digits or, from 1000 on, all before the point.
func rateText(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
