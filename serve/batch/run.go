package batch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/serve"
)

// Work is how a shard's rows are answered.
type Work struct {
	// Ask answers a row. It may be called by several goroutines, and returns soon
	// once ctx of Run ends.
	Ask func(serve.Row) (serve.RowAnswer, error)
	// AtOnce is how many rows are asked at once.
	AtOnce int
	// Committed is told of each commit; nil: nobody is.
	Committed func(*Shard)
}

const (
	// mostAhead is how many rows may have been asked that wait for an earlier one
	// to be committed, and mostBytes how many bytes of answers, about.
	mostAhead = 4096
	mostBytes = 64 << 20

	// syncEvery is how often answers are put on the disk. A process that is killed
	// loses none that it has written; with the power those of this time are lost,
	// and asked again.
	syncEvery = time.Second

	// tries is how often a row is asked that is refused for want of room though
	// nothing else takes any.
	tries = 3
)

// asked is a row on its way.
type asked struct {
	row    serve.Row
	answer serve.RowAnswer
	err    error
	done   chan struct{}
}

// a run is the work on a shard.
type run struct {
	*Shard
	Work
	ctx     context.Context
	from    int // row of the shard
	inOrder chan *asked
	places  chan struct{}
	asking  atomic.Int32 // rows that are being answered, and not waiting for room
	workers sync.WaitGroup

	mu    sync.Mutex
	room  *sync.Cond
	bytes int // of answers that are not committed yet
}

// Run answers the rows that are left and commits them. When ctx ends before them
// it returns its error, and another Run goes on.
func (s *Shard) Run(ctx context.Context, w Work) error {
	if s.Complete() {
		return nil
	}
	rows, err := s.in.lines(s.limit)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &run{Shard: s, Work: w, ctx: ctx, from: s.Done, inOrder: make(chan *asked, mostAhead), places: make(chan struct{}, w.AtOnce)}
	r.room = sync.NewCond(&r.mu)
	defer context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.room.Broadcast()
	})()
	committed := make(chan error, 1)
	go func() {
		err := r.commit()
		stop(err) // nobody needs further answers
		committed <- err
	}()
	err = r.readAll(rows)
	close(r.inOrder)
	fault := <-committed
	r.workers.Wait()
	if err = errors.Join(err, fault); err == nil && s.Done < s.Rows {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return s.finish()
}

// finish gives the answers, which are all there, the output's name.
func (s *Shard) finish() error {
	err := errors.Join(s.file.Sync(), s.file.Close())
	s.file = nil
	if err == nil {
		err = disk.Rename(s.partial(), s.Output)
	}
	if err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(s.Output))
}

// readAll asks the shard's rows in order, as there is room for them.
func (r *run) readAll(in *lines) error {
	seen := map[idSum]int{} // line
	for at := 0; at < r.first+r.Rows; at++ {
		next, err := in.row()
		if errors.Is(err, io.EOF) {
			err = filesFault("the input has become shorter")
		}
		if err != nil {
			return err
		}
		row := serve.TooLong(in.number, r.limit)
		if !next.long {
			row = serve.ReadRow(in.number, next.text)
		}
		if row.ID != "" {
			if before, ok := seen[sumOf(row.ID)]; ok {
				row = row.Repeated(before)
			} else {
				seen[sumOf(row.ID)] = in.number
			}
		}
		if at < r.first+r.from {
			continue
		}
		if !r.ask(row) {
			return nil // the committer knows why
		}
	}
	return nil
}

// idSum stands for a custom_id, of which a file may have very many.
type idSum [16]byte

func sumOf(id string) idSum {
	sum := sha256.Sum256([]byte(id))
	return idSum(sum[:16])
}

// ask has a worker answer a row once there is room, and reports whether rows are
// still wanted.
func (r *run) ask(row serve.Row) bool {
	r.mu.Lock()
	for r.bytes > mostBytes && r.ctx.Err() == nil {
		r.room.Wait()
	}
	r.mu.Unlock()
	select {
	case r.places <- struct{}{}:
	case <-r.ctx.Done():
		return false
	}
	one := &asked{row: row, done: make(chan struct{})}
	r.workers.Go(func() {
		defer func() { <-r.places }()
		defer close(one.done)
		r.answer(one)
	})
	select {
	case r.inOrder <- one:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// answer asks until the row has its answer.
func (r *run) answer(one *asked) {
	for alone := 0; ; {
		if one.err = context.Cause(r.ctx); one.err != nil {
			return
		}
		r.asking.Add(1)
		one.answer, one.err = r.Ask(one.row)
		others := r.asking.Add(-1)
		if one.err == nil && one.answer.Failed {
			one.err = context.Cause(r.ctx) // it may have failed for that
		}
		if one.err != nil || one.answer.Again == 0 {
			break
		}
		if others == 0 {
			if alone++; alone == tries {
				break
			}
		}
		select {
		case <-time.After(one.answer.Again):
		case <-r.ctx.Done():
		}
	}
	one.row = serve.Row{} // its body is not kept while earlier rows are waited for
	r.mu.Lock()
	r.bytes += len(one.answer.Line)
	r.mu.Unlock()
}

// commit writes answers in order until one is missing.
func (r *run) commit() error {
	synced := time.Now()
	for one := range r.inOrder {
		<-one.done
		if one.err != nil {
			return one.err
		}
		if _, err := r.file.Write(append(one.answer.Line, '\n')); err != nil {
			return fmt.Errorf("%s: %w", r.partial(), err)
		}
		r.Done++
		if one.answer.Failed {
			r.Failed++
		}
		if time.Since(synced) > syncEvery {
			if err := r.file.Sync(); err != nil {
				return fmt.Errorf("%s: %w", r.partial(), err)
			}
			synced = time.Now()
		}
		r.mu.Lock()
		r.bytes -= len(one.answer.Line)
		r.mu.Unlock()
		r.room.Broadcast()
		if r.Committed != nil {
			r.Committed(r.Shard)
		}
	}
	return nil
}
