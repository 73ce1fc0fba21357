package main

import (
	goruntime "runtime/metrics"
	"syscall"
	"time"
)

// cost is what this process has spent.
type cost struct {
	time   time.Duration // of processors, in this process alone
	memory int           // bytes allocated
}

func spent() cost {
	allocated := []goruntime.Sample{{Name: "/gc/heap/allocs:bytes"}}
	goruntime.Read(allocated)
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // which cannot fail
	return cost{time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), int(allocated[0].Value.Uint64())}
}

func (c cost) less(before cost) cost { return cost{c.time - before.time, c.memory - before.memory} }
