package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/internal/sample"
)

// The engines, by their names in the table.
const (
	oursExact   = "ours, f32"
	oursRounded = "ours, i8"
	llama       = "llama.cpp"
	ik          = "ik_llama.cpp"
)

// ratios are the pairs of the table: the first against the second.
var ratios = [][2]string{{oursExact, llama}, {oursRounded, llama}, {oursExact, ik}, {oursRounded, ik}}

// rates are an engine's, by round.
type rates map[int]float64

// median is what a cell of an engine has.
func (r rates) median() float64 {
	var all []float64
	for _, v := range r {
		all = append(all, v)
	}
	return sample.Median(all)
}

// ratio is the median of one engine's rates beside another's of the same rounds, and its
// 95 % interval where there were rounds enough. ok: there is a round that both have.
func ratio(one, other rates) (median float64, interval []float64, ok bool) {
	var all []float64
	for round, v := range one {
		if beside, ok := other[round]; ok {
			all = append(all, v/beside)
		}
	}
	if len(all) == 0 {
		return 0, nil, false
	}
	return sample.Median(all), sample.Interval(all), true
}

// row is a model under a load.
type row struct {
	setting
	engines map[string]rates
}

// rows are those of the table: larger models first, loads in the order of measuring.
func (t *turns) rows() (all []row) {
	for _, one := range t.all {
		i := slices.IndexFunc(all, func(r row) bool { return r.setting == one.setting })
		if i < 0 {
			i = len(all)
			all = append(all, row{one.setting, map[string]rates{}})
		}
		if all[i].engines[one.Engine] == nil {
			all[i].engines[one.Engine] = rates{}
		}
		all[i].engines[one.Engine][one.Round] = one.Rate
	}
	slices.SortStableFunc(all, func(a, b row) int {
		return cmp.Or(
			cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Threads, b.Threads),
			cmp.Compare(slices.Index(loads, a.Load), slices.Index(loads, b.Load)),
		)
	})
	return all
}

// table prints the rows as Markdown.
func (b *bench) table() error {
	rows := b.turns.rows()
	rows = slices.DeleteFunc(rows, func(r row) bool {
		return r.Threads != b.threads || r.Processor != b.processor || r.Repetitions != b.repetitions
	})
	if len(rows) == 0 {
		return fmt.Errorf("%s has no turns on so many threads (-threads %d), by this time (-time) and with so many repetitions (-repetitions %d) yet", b.turns.path, b.threads, b.repetitions)
	}
	_, err := fmt.Fprint(b.out, markdown(rows))
	return err
}

func markdown(rows []row) string {
	var s strings.Builder
	engines := []string{oursExact, oursRounded, llama, ik}
	per := "tokens/s"
	if rows[0].Processor {
		per += " of a processor"
	}
	fmt.Fprintf(&s, "| %s | | %s | rounds |", per, strings.Join(engines, " | "))
	for _, pair := range ratios {
		fmt.Fprintf(&s, " %s against %s |", pair[0], pair[1])
	}
	s.WriteString("\n|---|---|" + strings.Repeat("---:|", len(engines)+1) + strings.Repeat("---|", len(ratios)) + "\n")
	model := ""
	for _, r := range rows {
		if r.Model != model {
			s.WriteString("| " + r.Model + " ")
			model = r.Model
		} else {
			s.WriteString("| ")
		}
		fmt.Fprintf(&s, "| %s |", r.Load)
		most := 0
		for _, engine := range engines {
			if len(r.engines[engine]) == 0 {
				s.WriteString(" |")
				continue
			}
			most = max(most, len(r.engines[engine]))
			fmt.Fprintf(&s, " %s |", rateText(r.engines[engine].median()))
		}
		fmt.Fprintf(&s, " %d |", most)
		for _, pair := range ratios {
			median, interval, ok := ratio(r.engines[pair[0]], r.engines[pair[1]])
			switch {
			case !ok:
				s.WriteString(" |")
			case interval == nil:
				fmt.Fprintf(&s, " %.2f × |", median)
			default:
				fmt.Fprintf(&s, " %.2f × (%.2f to %.2f) |", median, interval[0], interval[1])
			}
		}
		s.WriteString("\n")
	}
	return s.String()
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
