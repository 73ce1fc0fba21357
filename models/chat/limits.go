package chat

import (
	"fmt"
	"time"

	"github.com/ardanlabs/jinja"
)

// Templates come from strangers, with adapters: like transformers' sandbox, a
// rendering bounds what would take all memory or, by recursion, the process.
const (
	maxRange  = 100_000 // items of one range
	maxMacros = 100_000 // calls of macros in one rendering
)

// The engine bounds nothing else, so a Sandbox bounds the process.
const (
	maxTime   = 2 * time.Second  // of compiling, and of one rendering
	maxStart  = 10 * time.Second // of a process, on a machine that is busy
	maxMemory = 256 << 20        // bytes of a process: its Go runtime takes some 40 MiB of them
	maxStack  = 64 << 20         // bytes of its stack: recursion ends it at once
	maxPrompt = 2 << 20          // bytes of a prompt: contexts hold less, and its tokens take a hundred times that
	maxFault  = 4 << 10          // bytes of an error's text
	maxTurns  = 4                // renderings at a time, each of another template
	maxIdle   = 8                // processes that wait, each with its template compiled
	keptHeap  = 64 << 20         // bytes that a waiting process keeps from its last rendering
)

// macroCall is the function that prepare has every macro call first.
const macroCall = "count_macro_call"

// countMacroCalls refuses the call after the last that a rendering may make.
func countMacroCalls() func([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
	calls := 0
	return func([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
		if calls++; calls > maxMacros {
			return jinja.Undefined(), fmt.Errorf("macros are called more than %d times", maxMacros)
		}
		return jinja.None(), nil
	}
}

// boundedRange is Python's range.
func boundedRange(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	bounds := [3]int64{0, 0, 1} // start, stop, step
	for i, arg := range args {
		if !arg.IsInt() || len(args) > len(bounds) {
			return jinja.Undefined(), fmt.Errorf("range takes 1 to 3 whole numbers")
		}
		bounds[i] = arg.AsInt()
	}
	if len(args) == 1 {
		bounds[0], bounds[1] = 0, bounds[0]
	}
	start, stop, step := bounds[0], bounds[1], bounds[2]
	if len(args) == 0 || step == 0 {
		return jinja.Undefined(), fmt.Errorf("range takes 1 to 3 whole numbers, the last not 0")
	}
	var items []jinja.Value
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(items) == maxRange {
			return jinja.Undefined(), fmt.Errorf("range has more than %d items", maxRange)
		}
		items = append(items, jinja.NewInt(i))
	}
	return jinja.NewList(items), nil
}
