package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/peft-serve/peft-serve/models/hub"
)

// progress shows how far downloads are: a bar a file on a terminal, a line
// every few seconds in a log.
type progress struct {
	out      io.Writer
	terminal bool
	bars     map[string]*progressbar.ProgressBar
	lines    map[string]time.Time
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, terminal: isTerminal(out), bars: map[string]*progressbar.ProgressBar{}, lines: map[string]time.Time{}}
}

// lineEvery is the time between two lines about one file.
const lineEvery = 5 * time.Second

func (p *progress) show(at hub.Progress) {
	name := at.Repo + "/" + at.File
	if !p.terminal {
		last, begun := p.lines[name]
		finished := at.Done == at.Size
		if begun && !finished && time.Since(last) < lineEvery {
			return
		}
		p.lines[name] = time.Now()
		switch {
		case finished:
			p.line("%s: %s, done", name, bytesText(at.Done))
		case at.Size < 0:
			p.line("%s: %s", name, bytesText(at.Done))
		default:
			p.line("%s: %s of %s, %d %%", name, bytesText(at.Done), bytesText(at.Size), 100*at.Done/max(at.Size, 1))
		}
		return
	}
	bar := p.bars[name]
	if bar == nil {
		bar = progressbar.NewOptions64(at.Size, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(at.File),
			progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true), progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionOnCompletion(func() { p.line("") }))
		p.bars[name] = bar
	}
	_ = bar.Set64(at.Done)
}

// done ends the bars that did not come to their end.
func (p *progress) done() {
	for _, bar := range p.bars {
		if !bar.IsFinished() {
			_ = bar.Exit()
			p.line("")
		}
	}
}

func (p *progress) line(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format+"\n", args...) }
