package main

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/processor"
	"github.com/peft-serve/peft-serve/internal/sample"
	"github.com/peft-serve/peft-serve/models"
)

// crowd is what so many adapters take, of which half are BitFit and half LoRA, each with
// a head. Times are in microseconds of processor time.
type crowd struct {
	Adapters  int     `json:"adapters"`
	FileBytes int     `json:"file_bytes"`
	Bytes     int     `json:"bytes"`          // that the catalogue counts
	Resident  int     `json:"resident_bytes"` // by which the process has grown; 0: not known
	List      float64 `json:"list_microseconds_an_adapter"`
	Switch    float64 `json:"switch_microseconds"` // to acquire another adapter and to release it
	Text      float64 `json:"milliseconds_a_text"` // of texts one at a time, each by another adapter
}

// measureMany brings 10, 100 and so on up to --many adapters into memory.
func (b *benchCommand) measureMany(ctx context.Context, c console, r *report) (err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	b.Prompt = b.promptTokens(textTokens)
	d, err := b.newBed(ctx, c, catalogue.Options{Bytes: boundless, Dir: dir}, 1, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	r.describe(b, d.base)
	tokens, err := d.base.text.EncodePlain(benchText)
	if err != nil {
		return err
	}
	m := many{texts: texts{bench: b, bed: d, pass: models.NewPass(d.pool), tokens: tokens}, dir: dir}
	if err := m.forward(m.cut(0, 1)); err != nil { // the base's own pages
		return err
	}
	m.began = processor.Resident()
	r.Rank = b.Rank
	for n := min(10, b.Many); ; n = min(10*n, b.Many) {
		row, err := m.grow(ctx, n)
		if err != nil {
			return err
		}
		if r.Many = append(r.Many, row); n == b.Many {
			return nil
		}
	}
}

// many are the adapters so far.
type many struct {
	texts
	dir   string
	names []string
	files int // bytes
	began int // bytes of the process without any
}

// grow brings them up to n, and measures.
func (m *many) grow(ctx context.Context, n int) (row crowd, err error) {
	for i := len(m.names); i < n; i++ {
		family := families[1+i%2]
		name := headedName(family, i)
		folder := filepath.Join(m.dir, name)
		if err := m.bench.writeOneHeaded(m.bed.base.model, family, folder, rand.NewPCG(uint64(m.bench.Seed), uint64(i)+1)); err != nil {
			return row, err
		}
		if _, err := m.bed.catalogue.Load(ctx, name); err != nil {
			return row, err
		}
		size, err := folderBytes(folder)
		if err != nil {
			return row, err
		}
		m.names, m.files = append(m.names, name), m.files+size
	}
	row = crowd{Adapters: n, FileBytes: m.files}
	row.Bytes, _ = m.bed.catalogue.Bytes()
	debug.FreeOSMemory()
	if now := processor.Resident(); now > 0 {
		row.Resident = now - m.began
	}
	each := func(runs int, f func(i int) error) (time.Duration, error) {
		if err := f(0); err != nil { // what is cold
			return 0, err
		}
		var samples []float64
		for round := range m.bench.Repetitions {
			before, err := processorTime(ctx)
			if err != nil {
				return 0, err
			}
			for i := range runs {
				if err := f(round*runs + i); err != nil {
					return 0, err
				}
			}
			after, err := processorTime(ctx)
			if err != nil {
				return 0, err
			}
			samples = append(samples, (after-before).Seconds()/float64(runs))
		}
		return time.Duration(sample.Median(samples) * float64(time.Second)), nil
	}
	list, err := each(max(1, 2000/n), func(int) error { m.bed.catalogue.List(); return nil })
	if err != nil {
		return row, err
	}
	row.List = microseconds(list) / float64(n)
	turn, err := each(10000, func(i int) error {
		lease, err := m.bed.catalogue.Acquire(m.names[i%n], "")
		if err == nil {
			lease.Release()
		}
		return err
	})
	if err != nil {
		return row, err
	}
	row.Switch = microseconds(turn)
	text, err := each(30, func(i int) error { return m.bed.classify(ctx, m.text(m.cut(i, 1)[0]), m.names[i%n:i%n+1]) })
	row.Text = microseconds(text) / 1000
	return row, err
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// folderBytes is what the files of a folder take.
func folderBytes(dir string) (bytes int, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		stat, err := e.Info()
		if err == nil {
			bytes += int(stat.Size())
		}
		return err
	})
	return bytes, err
}
