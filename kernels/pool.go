package kernels

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"
)

// A Task is work split into parts that may run in any order, at once, on any
// worker. Each part writes elements no other part touches, so the split never
// shows in a result.
type Task interface {
	Part(w *Worker, part int)
}

// Worker is one thread's share of the pool: scratch memory that a kernel may
// use for the time of one part. Its methods run a primitive on the calling
// goroutine alone, with the same bits as the Pool's method of that name. It is two
// cache lines long, so that no two workers write to one.
type Worker struct {
	scratch []float32
	tile    []float32 // the products' own: weights widened or packed
	packed  []float32 // the products' own: activations packed
	panel   []float32 // the gradients' own: columns side by side
	lent    []float32 // see Take
	taken   int       // of lent
}

// Scratch returns n uninitialised values, valid until the next call. The
// primitives of this package never use it for their own ends while it is
// lent, except Decode-based portable ones, which have memory of their own.
func (w *Worker) Scratch(n int) []float32 { return grow(&w.scratch, n) }

// grow returns n values of *s, aligned to 64 bytes, enlarging it first if
// need be.
func grow(s *[]float32, n int) []float32 {
	if cap(*s) < n {
		v := make([]float32, grown(n))
		skip := (64 - int(uintptr(unsafe.Pointer(unsafe.SliceData(v)))%64)) % 64 / 4
		*s = v[skip:]
	}
	return (*s)[:n]
}

// grown is how many values grow makes room for when it enlarges for n.
func grown(n int) int { return n + n/4 + 16 }

// Pool runs tasks on a fixed number of workers, the calling goroutine being
// the first. One goroutine at a time may use a Pool.
//
// The others watch for a new region for a short while after the last, because
// a decoding step is some two hundred regions of tens of microseconds each,
// and then sleep. Nobody waits for a sleeper: it joins if there is work left
// when it arrives.
type Pool struct {
	workers []*Worker
	helpers []*helper
	watch   time.Duration // how long an idle helper watches before it sleeps

	task  Task
	parts int64
	next  atomic.Int64
	_     [56]byte
	// open is the number of the region under way, 0 between regions. A helper
	// says that it is at work and then looks at open again; the caller clears open
	// and then waits for each helper to be done. So no helper reads task or parts
	// while they change. Each says so in a cache line of its own: a region costs a
	// helper the same however many there are, and the caller one look at each.
	open          atomic.Uint64
	_             [56]byte
	region        uint64
	closed        atomic.Bool
	fault         atomic.Pointer[Fault]
	packed        []float32 // the operand packed for the region under way
	packedWeights []float32 // the other one
	tasks         tasks
}

// Fault is a panic of a Task's part, with the stack of the worker it was on.
type Fault struct {
	Value any
	Stack []byte
}

// Error tells both: whoever lets it end the process sees where it was.
func (f *Fault) Error() string { return fmt.Sprintf("%v, on a worker:\n\n%s", f.Value, f.Stack) }

// helper is what a helper and the caller tell each other, two cache lines long,
// since processors read them by pairs.
type helper struct {
	atWork atomic.Bool
	asleep atomic.Bool
	wake   chan struct{}
	_      [112]byte
}

// watchFor is how long an idle helper looks for the next region.
const watchFor = 40 * time.Microsecond

// NewPool starts a pool of the given number of threads; 0 means one for each
// processor. Close it to end its goroutines.
func NewPool(threads int) *Pool {
	procs := goruntime.GOMAXPROCS(0)
	if threads <= 0 {
		threads = procs
	}
	p := &Pool{workers: make([]*Worker, threads), helpers: make([]*helper, threads-1)}
	if threads <= procs {
		p.watch = watchFor
	}
	for i := range p.workers {
		p.workers[i] = new(Worker)
	}
	for i := range p.helpers {
		p.helpers[i] = &helper{wake: make(chan struct{}, 1)}
		go p.serve(p.workers[i+1], p.helpers[i])
	}
	return p
}

// Threads is the number of workers.
func (p *Pool) Threads() int { return len(p.workers) }

// Close ends the pool's goroutines.
func (p *Pool) Close() {
	p.closed.Store(true)
	p.rouse()
	p.helpers = nil
}

// Run executes parts 0 … parts-1 of t and returns when all are done. If one
// panics, on whichever worker, the parts not begun are left out and Run panics
// with a *Fault; the Pool stays usable.
func (p *Pool) Run(parts int, t Task) {
	if parts <= 1 || len(p.helpers) == 0 {
		for i := range parts {
			p.workers[0].begin()
			t.Part(p.workers[0], i)
		}
		return
	}
	p.task, p.parts = t, int64(parts)
	p.next.Store(0)
	p.region++
	p.open.Store(p.region)
	p.rouse()
	p.drain(p.workers[0])
	p.open.Store(0)
	p.awaitHelpers()
	p.task = nil
	if f := p.fault.Swap(nil); f != nil {
		panic(f)
	}
}

// rouse wakes the helpers that sleep.
func (p *Pool) rouse() {
	for _, h := range p.helpers {
		if h.asleep.Load() && h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
}

// awaitHelpers waits until no helper is at work.
func (p *Pool) awaitHelpers() {
	i := 0
	for _, h := range p.helpers {
		for ; h.atWork.Load(); i++ {
			switch {
			case i < 200 && p.watch > 0:
				pause()
			case i < 2000:
				goruntime.Gosched()
			default:
				time.Sleep(20 * time.Microsecond)
			}
		}
	}
}

func (p *Pool) serve(w *Worker, h *helper) {
	var last uint64
	for !p.closed.Load() {
		region := p.open.Load()
		if region == 0 || region == last {
			p.idle(h, last)
			continue
		}
		h.atWork.Store(true)
		if region = p.open.Load(); region != 0 {
			p.drain(w)
			last = region
		}
		h.atWork.Store(false)
	}
}

// idle returns when there is a region other than last, or the pool is closed:
// it watches for a while and then sleeps.
func (p *Pool) idle(h *helper, last uint64) {
	news := func() bool {
		region := p.open.Load()
		return region != 0 && region != last || p.closed.Load()
	}
	if p.watch > 0 {
		start := time.Now()
		for i := 1; ; i++ {
			if news() {
				return
			}
			pause()
			if i%16 == 0 && time.Since(start) > p.watch {
				break
			}
		}
	}
	h.asleep.Store(true)
	if news() && h.asleep.CompareAndSwap(true, false) {
		return
	}
	<-h.wake
}

func (p *Pool) drain(w *Worker) {
	defer func() {
		if r := recover(); r != nil {
			p.next.Store(p.parts)
			p.fault.CompareAndSwap(nil, &Fault{r, debug.Stack()})
		}
	}()
	for {
		i := p.next.Add(1) - 1
		if i >= p.parts {
			return
		}
		w.begin()
		p.task.Part(w, int(i))
	}
}

// tasks holds one reusable Task of each primitive, so that a call allocates
// nothing.
type tasks struct {
	matMul      matMulTask
	pack        packTask
	int8        int8Task
	read        readTask
	lanes       laneTask
	inputGrad   inputGradTask
	weightGrad  weightGradTask
	grad        outerTask
	attend      attendTask
	disentangle disentangleTask
	rows        rowsTask
	store       storeTask
	route       routeTask
}
