package main

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestCrowdReport: what the load generator takes counts by how much more it is than while
// the capacity was measured.
func TestCrowdReport(t *testing.T) {
	const length = 10 * time.Second
	o := &crowding{tenants: 2}
	taking := func(share float64) time.Duration {
		return time.Duration(share * float64(length) * float64(runtime.NumCPU()))
	}
	for name, c := range map[string]struct {
		then, now float64 // the load generator's shares of the processors
		tokens    int     // of a tenant
		want, bad string
	}{
		"as much as then":       {0.2, 0.2, 425, "goodput 0.850 of capacity, 0.850 of what the load generator left of it (it took 0.200 of the processors, and 0.200 while", "the goodput is below 0.9"},
		"twice as much":         {0.2, 0.4, 350, "goodput 0.700 of capacity, 0.933 of what", ""},
		"less than then":        {0.2, 0.1, 475, "goodput 0.950 of capacity, 0.844 of what", "the goodput is below 0.9"},
		"no look at its memory": {0, 0, 500, "memory at most 0.0 MiB in the first tenth and 0.0 MiB in the last", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			seen := &crowdSeen{length: length, own: taking(c.now), answered: []int{c.tokens, c.tokens}}
			err := o.report(&out, capacity{100, c.then}, seen, footprint{}, footprint{generated: 2 * c.tokens})
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("%s\nwant %s", out.String(), c.want)
			}
			if (err != nil) != (c.bad != "") || err != nil && !strings.HasPrefix(err.Error(), c.bad) {
				t.Errorf("%v, want %q", err, c.bad)
			}
		})
	}
}
