package serve

import (
	"math"
	"os"
	"runtime"
	"runtime/metrics"

	"github.com/peft-serve/peft-serve/internal/processor"
)

// processCounters tell how the process is: for operators, at /debug/vars. What a
// system does not tell is 0 there.
type processCounters struct {
	Goroutines int     `json:"goroutines"`
	Threads    int     `json:"threads"`
	Processors int     `json:"processors"` // that Go code runs on at once
	CPU        float64 `json:"cpu_seconds"`

	Heap struct {
		Bytes     int `json:"bytes"`
		Live      int `json:"live_bytes"` // of those, what the last collection found in use
		Objects   int `json:"objects"`
		Goal      int `json:"goal_bytes"` // at which the next collection ends
		Allocated int `json:"allocated_bytes_total"`
		Unused    int `json:"unused_bytes"` // free, in spans of objects of one size
		Free      int `json:"free_bytes"`   // free, and not yet the system's again
	} `json:"heap"`
	Stacks  int `json:"stack_bytes"`   // of goroutines
	Runtime int `json:"runtime_bytes"` // of the Go runtime's own tables
	GC      struct {
		Cycles int     `json:"cycles"`
		Median float64 `json:"pause_seconds_median"`
		P99    float64 `json:"pause_seconds_p99"`
		Max    float64 `json:"pause_seconds_max"`
	} `json:"gc"`
	Descriptors struct {
		Open  int    `json:"open"`
		Limit uint64 `json:"limit"`
	} `json:"descriptors"`
	Memory processMemory `json:"memory"`
}

// processMemory is in bytes.
type processMemory struct {
	Resident int `json:"resident_bytes"` // mapped weights that have been read included
	Go       int `json:"go_bytes"`       // that the Go runtime has of the system
	Heap     int `json:"heap_bytes"`     // of those, in use
}

// readings are runtime/metrics by name.
type readings map[string]metrics.Value

func read(names ...string) readings {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	r := readings{}
	for _, s := range samples {
		r[s.Name] = s.Value
	}
	return r
}

func (r readings) count(name string) int {
	if v := r[name]; v.Kind() == metrics.KindUint64 {
		return int(v.Uint64())
	}
	return 0
}

// quantile is a bound that at least that share of a histogram's values do not
// exceed.
func (r readings) quantile(name string, q float64) float64 {
	if r[name].Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := r[name].Float64Histogram()
	var all, below uint64
	for _, n := range h.Counts {
		all += n
	}
	for i, n := range h.Counts {
		if below += n; n > 0 && float64(below) >= q*float64(all) {
			if bound := h.Buckets[i+1]; !math.IsInf(bound, 0) {
				return bound
			}
			return h.Buckets[i]
		}
	}
	return 0
}

// Names of runtime/metrics.
const (
	goroutineCount = "/sched/goroutines:goroutines"
	threadCount    = "/sched/threads/total:threads"
	heapBytes      = "/memory/classes/heap/objects:bytes"
	heapLive       = "/gc/heap/live:bytes"
	heapObjects    = "/gc/heap/objects:objects"
	heapGoal       = "/gc/heap/goal:bytes"
	heapAllocated  = "/gc/heap/allocs:bytes"
	gcCycles       = "/gc/cycles/total:gc-cycles"
	gcPauses       = "/sched/pauses/total/gc:seconds"
	goMemory       = "/memory/classes/total:bytes"
	heapUnused     = "/memory/classes/heap/unused:bytes"
	heapFree       = "/memory/classes/heap/free:bytes"
	heapReleased   = "/memory/classes/heap/released:bytes"
	heapStacks     = "/memory/classes/heap/stacks:bytes"
)

func countProcess() (p processCounters) {
	r := read(goroutineCount, threadCount, heapLive, heapObjects, heapGoal, heapAllocated, gcCycles, gcPauses, goMemory, heapBytes, heapUnused, heapFree, heapReleased, heapStacks)
	p.Goroutines, p.Threads, p.Processors = r.count(goroutineCount), r.count(threadCount), runtime.GOMAXPROCS(0)
	p.CPU, p.Memory = processor.Time().Seconds(), measureMemory()
	p.Heap.Bytes, p.Heap.Live, p.Heap.Objects, p.Heap.Goal, p.Heap.Allocated = p.Memory.Heap, r.count(heapLive), r.count(heapObjects), r.count(heapGoal), r.count(heapAllocated)
	p.Heap.Unused, p.Heap.Free, p.Stacks = r.count(heapUnused), r.count(heapFree), r.count(heapStacks)
	p.Runtime = r.count(goMemory) - r.count(heapBytes) - r.count(heapUnused) - r.count(heapFree) - r.count(heapReleased) - r.count(heapStacks)
	p.GC.Cycles = r.count(gcCycles)
	p.GC.Median, p.GC.P99, p.GC.Max = r.quantile(gcPauses, .5), r.quantile(gcPauses, .99), r.quantile(gcPauses, 1)
	p.Descriptors.Open, p.Descriptors.Limit = openDescriptors(), descriptorLimit()
	return p
}

func measureMemory() processMemory {
	r := read(heapBytes, goMemory)
	return processMemory{processor.Resident(), r.count(goMemory), r.count(heapBytes)}
}

// openDescriptors counts this process's, but for the one that counting takes.
func openDescriptors() int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(entries) - 1
}
