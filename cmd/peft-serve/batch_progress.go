package main

import (
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/peft-serve/peft-serve/serve/batch"
)

// rowsProgress shows how a batch goes on: a bar on a terminal, lines in a log.
type rowsProgress struct {
	log   *slog.Logger
	bar   *progressbar.ProgressBar // nil: no terminal
	from  int
	began time.Time
	last  time.Time
}

// rowsEvery is the time between two lines.
const rowsEvery = 10 * time.Second

func newRowsProgress(out io.Writer, log *slog.Logger, s *batch.Shard) *rowsProgress {
	p := &rowsProgress{log: log, from: s.Done, began: time.Now(), last: time.Now()}
	if isTerminal(out) {
		p.bar = progressbar.NewOptions(s.Rows, progressbar.OptionSetWriter(out), progressbar.OptionSetItsString("rows"),
			progressbar.OptionShowIts(), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		_ = p.bar.Set(s.Done) // a terminal that cannot be written to shows nothing
	}
	return p
}

// committed shows the rows that are.
func (p *rowsProgress) committed(s *batch.Shard) {
	if p.bar != nil {
		_ = p.bar.Set(s.Done)
		return
	}
	now := time.Now()
	if now.Sub(p.last) < rowsEvery {
		return
	}
	p.last = now
	each := now.Sub(p.began) / time.Duration(s.Done-p.from)
	p.log.Info("answering", "done", s.Done, "of", s.Rows, "failed", s.Failed,
		"rows_per_second", math.Round(10/each.Seconds())/10, "left", (each * time.Duration(s.Rows-s.Done)).Round(time.Second))
}

func (p *rowsProgress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
