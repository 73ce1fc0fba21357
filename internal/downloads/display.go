// Package downloads shows people at a console how far downloads are.
package downloads

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Display is a bar a file on a terminal, and a line every few seconds in a log.
// It is used by one goroutine at a time.
type Display struct {
	out      io.Writer
	size     func(bytes int64) string
	terminal bool
	bars     map[string]*progressbar.ProgressBar
	lines    map[string]time.Time
}

// New returns a display that writes numbers of bytes as size does.
func New(out io.Writer, size func(bytes int64) string) *Display {
	f, ok := out.(*os.File)
	return &Display{
		out: out, size: size, terminal: ok && term.IsTerminal(int(f.Fd())),
		bars: map[string]*progressbar.ProgressBar{}, lines: map[string]time.Time{},
	}
}

// lineEvery is the time between two lines about one file.
const lineEvery = 5 * time.Second

// Show tells how many bytes of a repository's file have come; of -1 where that
// is not known.
func (d *Display) Show(repository, file string, done, of int64) {
	name := repository + "/" + file
	if !d.terminal {
		last, begun := d.lines[name]
		finished := done == of
		if begun && !finished && time.Since(last) < lineEvery {
			return
		}
		d.lines[name] = time.Now()
		switch {
		case finished:
			d.Say("%s: %s, done", name, d.size(done))
		case of < 0:
			d.Say("%s: %s", name, d.size(done))
		default:
			d.Say("%s: %s of %s, %d %%", name, d.size(done), d.size(of), 100*done/max(of, 1))
		}
		return
	}
	bar := d.bars[name]
	if bar == nil {
		bar = progressbar.NewOptions64(of, progressbar.OptionSetWriter(d.out), progressbar.OptionSetDescription(file),
			progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true), progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionOnCompletion(func() { d.Say("") }))
		d.bars[name] = bar
	}
	_ = bar.Set64(done)
}

// End ends the bars that did not come to their end.
func (d *Display) End() {
	for _, bar := range d.bars {
		if !bar.IsFinished() {
			_ = bar.Exit()
			d.Say("")
		}
	}
}

// Say writes a line.
func (d *Display) Say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format+"\n", args...) }
