package kernels

import "time"

// peak times what an implementation's instruction set can do at most.
type peak struct {
	flops int // of one step of fma
	fma   func(n int)
	read  func(p *byte, n int) // 512 bytes a step
}

// Peak is what the processor can do at most, by the clock, on the threads of
// a pool: the measure for every product.
type Peak struct {
	GFLOPS float64 // float32 multiply-adds, two operations each, from registers
	GBps   float64 // read from memory, each thread its own share
}

// MeasurePeak measures it in about the given time, with the vectors of the
// implementation in force; zero for the portable one. Other load on the
// machine lowers it, so measure it beside what it is compared with.
func (p *Pool) MeasurePeak(around time.Duration) Peak {
	if active.peak == nil {
		return Peak{}
	}
	t := peakTask{peak: active.peak}
	t.steps = 4096
	var best Peak
	for end := time.Now().Add(around / 2); time.Now().Before(end); {
		start := time.Now()
		p.Run(p.Threads()*8, &t)
		ops := float64(p.Threads()*8*t.steps) * float64(t.peak.flops)
		best.GFLOPS = max(best.GFLOPS, ops/float64(time.Since(start).Nanoseconds()))
	}
	t.memory = make([]byte, 256<<20)
	for i := 0; i < len(t.memory); i += 4096 {
		t.memory[i] = 1 // a page of its own
	}
	const share = 4 << 20
	t.steps = share / 512
	for end := time.Now().Add(around / 2); ; {
		start := time.Now()
		p.Run(len(t.memory)/share, &t)
		best.GBps = max(best.GBps, float64(len(t.memory))/float64(time.Since(start).Nanoseconds()))
		if time.Now().After(end) {
			return best
		}
	}
}

// Read reads what products of w read, each thread its own share, and returns how many
// bytes that was: no product of few rows is faster. It is 0 for the portable
// implementation.
func (p *Pool) Read(w Weight) int {
	data := w.Data
	if w.int8 != nil && w.int8.groups != nil {
		data = w.int8.groups
	}
	steps := len(data) / 512
	if steps == 0 || active.peak == nil {
		return 0
	}
	t := &p.tasks.read
	t.data, t.steps, t.read = data, steps, active.peak.read
	t.each = (steps + p.Threads() - 1) / p.Threads()
	p.Run((steps+t.each-1)/t.each, t)
	t.data = nil
	return 512 * steps
}

// readTask reads data, so many steps of 512 bytes a part.
type readTask struct {
	data        []byte
	steps, each int
	read        func(p *byte, n int)
}

func (t *readTask) Part(_ *Worker, part int) {
	from := part * t.each
	t.read(&t.data[512*from], min(t.each, t.steps-from))
}

type peakTask struct {
	*peak
	steps  int
	memory []byte
}

func (t *peakTask) Part(_ *Worker, part int) {
	if t.memory == nil {
		t.fma(t.steps)
		return
	}
	t.read(&t.memory[part*t.steps*512], t.steps)
}
