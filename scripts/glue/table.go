package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// column is one method of the table, with its cells by task.
type column struct {
	name  string
	cells map[string]*cell
}

// columns are the methods whose cells are there.
func (b *bench) columns() (all []column, err error) {
	made := map[string]*rows{}
	defer func() {
		for _, r := range made {
			err = errors.Join(err, r.close())
		}
	}()
	for _, by := range []string{ours, theirs} {
		for _, m := range b.chosen() {
			c := column{m.name, map[string]*cell{}}
			if by == theirs {
				c.name = m.name + ", PyTorch and PEFT"
			}
			for _, task := range b.tasks {
				if made[task] == nil {
					if made[task], err = b.open(task); err != nil {
						return nil, err
					}
				}
				done, err := b.finished(b.setting(by, m, made[task]))
				if err != nil {
					return nil, err
				}
				if done != nil {
					c.cells[task] = done
				}
			}
			if len(c.cells) > 0 {
				all = append(all, c)
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no cell of these settings yet: run them first")
	}
	return all, nil
}

// table writes the table and the plot of the cells that are there.
func (b *bench) table() error {
	columns, err := b.columns()
	if err != nil {
		return err
	}
	if err := disk.Write(filepath.Join(b.results, cellsDir+".svg"), []byte(b.plot(columns))); err != nil {
		return err
	}
	text := b.markdown(columns)
	fmt.Fprintln(b.out, text)
	return disk.Write(filepath.Join(b.results, cellsDir+".md"), []byte(text))
}

func (b *bench) markdown(columns []column) string {
	var s strings.Builder
	fmt.Fprintf(&s, "# GLUE's small tasks on %s\n\n", filepath.Base(b.base))
	fmt.Fprintf(&s, "Each cell has seen %d tokens of its task's rows, to the next batch of %d (seed %d); linear schedule with %.0f %% warm-up, no weight decay, nothing is cut. ",
		b.tokens, batchSize, b.seed, 100*warmup)
	s.WriteString("RTE: accuracy, CoLA: Matthews, STS-B: the mean of Pearson and Spearman, all on GLUE's dev rows after the last step. Parameters are all that are trained, the head's among them. ")
	s.WriteString("Memory is the most that the process had; minutes are those that its threads had of the processors, from start to end, since other work beside it changes them little, on the processor that is named. Made by `make glue`.\n\n![Scores by method](glue.svg)\n\n")
	s.WriteString("| method | rate | parameters |")
	rule := "|---|---:|---:|"
	for _, task := range b.tasks {
		fmt.Fprintf(&s, " %s |", task)
		rule += "---:|"
	}
	s.WriteString(" mean | peak memory | processor minutes | of |\n" + rule + "---:|---:|---:|---|\n")
	for _, c := range columns {
		var last *cell
		var peak int64
		score, minutes := 0.0, 0.0
		row := ""
		var on []string
		for _, task := range b.tasks {
			done := c.cells[task]
			if done == nil {
				row += " – |"
				continue
			}
			last, peak, score, minutes = done, max(peak, done.Peak), score+done.Score, minutes+done.Processor/60
			row += fmt.Sprintf(" %.1f |", 100*done.Score)
			if !slices.Contains(on, done.On) {
				on = append(on, done.On)
			}
		}
		mean := "–"
		if len(c.cells) == len(b.tasks) {
			mean = fmt.Sprintf("%.1f", 100*score/float64(len(b.tasks)))
		}
		fmt.Fprintf(&s, "| %s | %g | %d |%s %s | %d MiB | %.1f | %s |\n", c.name, last.Rate, last.Parameters, row, mean, peak>>20, minutes, strings.Join(on, ", "))
	}
	return s.String()
}

// colours tell methods apart, for the color-blind too (Okabe and Ito, 2008).
var colours = []string{"#0087c8", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#b8860b"}

// plot draws the scores as bars, a group for each task.
func (b *bench) plot(columns []column) string {
	const (
		left, floor, tall = 24.0, 220.0, 170.0
		bar, gap          = 26.0, 34.0
	)
	var s strings.Builder
	text := func(x, y, size float64, anchor, what string) {
		fmt.Fprintf(&s, "<text x=\"%g\" y=\"%g\" font-size=\"%g\" text-anchor=\"%s\" fill=\"#848d97\">%s</text>\n", x, y, size, anchor, what)
	}
	group := bar*float64(len(columns)) + gap
	width := left + group*float64(len(b.tasks)) + 220
	height := max(floor+34, 40+18*float64(len(columns)))
	fmt.Fprintf(&s, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" font-family=\"sans-serif\">\n", width, height)
	text(left, 22, 14, "start", fmt.Sprintf("Scores after %d tokens, %s", b.tokens, filepath.Base(b.base)))
	fmt.Fprintf(&s, "<line x1=\"%g\" y1=\"%g\" x2=\"%g\" y2=\"%g\" stroke=\"#848d97\"/>\n", left, floor, width-220, floor)
	for g, task := range b.tasks {
		x := left + group*float64(g) + gap/2
		text(x+bar*float64(len(columns))/2, floor+20, 13, "middle", task)
		for i, c := range columns {
			done := c.cells[task]
			if done == nil {
				continue
			}
			h := tall * max(done.Score, 0)
			fmt.Fprintf(&s, "<rect x=\"%g\" y=\"%.1f\" width=\"%g\" height=\"%.1f\" fill=\"%s\"/>\n", x+bar*float64(i), floor-h, bar-3, h, colours[i%len(colours)])
			text(x+bar*float64(i)+bar/2-1, floor-h-4, 10, "middle", fmt.Sprintf("%.1f", 100*done.Score))
		}
	}
	for i, c := range columns {
		y := 40 + 18*float64(i)
		fmt.Fprintf(&s, "<rect x=\"%g\" y=\"%g\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", width-204, y-10, colours[i%len(colours)])
		text(width-186, y, 12, "start", c.name)
	}
	s.WriteString("</svg>\n")
	return s.String()
}
