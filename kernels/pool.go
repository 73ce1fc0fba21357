package kernels

import (
	goruntime "runtime"
	"sync"
	"sync/atomic"
)

// A Task is work split into parts that may run in any order, at once, on any
// worker. Each part writes elements no other part touches, so the split never
// shows in a result.
type Task interface {
	Part(w *Worker, part int)
}

// Worker is one thread's share of the pool: scratch memory that a kernel may
// use for the time of one part. Its methods run a primitive on the calling
// goroutine alone, with the same bits as the Pool's method of that name.
type Worker struct {
	scratch []float32
}

// Scratch returns n uninitialised values, valid until the next call.
func (w *Worker) Scratch(n int) []float32 {
	if cap(w.scratch) < n {
		w.scratch = make([]float32, n+n/4)
	}
	return w.scratch[:n]
}

// Pool runs tasks on a fixed number of workers, the calling goroutine being
// the first. One goroutine at a time may use a Pool.
type Pool struct {
	workers []*Worker
	task    Task
	parts   int64
	next    atomic.Int64
	wake    []chan struct{}
	done    sync.WaitGroup
	tasks   tasks
}

// NewPool starts a pool of the given number of threads; 0 means one for each
// processor. Close it to end its goroutines.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = goruntime.GOMAXPROCS(0)
	}
	p := &Pool{workers: make([]*Worker, threads), wake: make([]chan struct{}, threads-1)}
	for i := range p.workers {
		p.workers[i] = new(Worker)
	}
	for i := range p.wake {
		p.wake[i] = make(chan struct{}, 1)
		go p.serve(p.workers[i+1], p.wake[i])
	}
	return p
}

// Threads is the number of workers.
func (p *Pool) Threads() int { return len(p.workers) }

// Close ends the pool's goroutines.
func (p *Pool) Close() {
	for _, c := range p.wake {
		close(c)
	}
	p.wake = nil
}

// Run executes parts 0 … parts-1 of t and returns when all are done.
func (p *Pool) Run(parts int, t Task) {
	if parts == 0 {
		return
	}
	if parts == 1 || len(p.wake) == 0 {
		for i := range parts {
			t.Part(p.workers[0], i)
		}
		return
	}
	p.task, p.parts = t, int64(parts)
	p.next.Store(0)
	p.done.Add(len(p.wake))
	for _, c := range p.wake {
		c <- struct{}{}
	}
	p.drain(p.workers[0])
	p.done.Wait()
	p.task = nil
}

func (p *Pool) serve(w *Worker, wake chan struct{}) {
	for range wake {
		p.drain(w)
		p.done.Done()
	}
}

func (p *Pool) drain(w *Worker) {
	for {
		i := p.next.Add(1) - 1
		if i >= p.parts {
			return
		}
		p.task.Part(w, int(i))
	}
}

// tasks holds one reusable Task of each primitive, so that a call allocates
// nothing.
type tasks struct {
	matMul     matMulTask
	inputGrad  inputGradTask
	weightGrad weightGradTask
	attend     attendTask
	rows       rowsTask
}
