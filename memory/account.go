package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrFull: there is no room left in the account, or more is asked for than it
// ever has.
var ErrFull = errors.New("the memory that the server may take is used up")

// Part is something that memory is set aside for, for as long as the process
// runs.
type Part struct {
	Name   string
	Bytes  int64
	Set    string       // the settings that change it; empty: none
	Mapped bool         // pages of a file, which the kernel counts apart
	Used   func() int64 // what it takes now; nil: all of it
}

// What comes and goes.
const (
	Reading   = "reading adapters"
	Unpacking = "unpacking uploads"
	Rendering = "rendering chat templates"
	Compiling = "compiling schemas of answers"
	Bodies    = "request bodies"
	Arriving  = "request bodies on their way"
)

// pools are what comes and goes: adapters, requests, and requests that clients are
// still sending. None waits for another.
var pools = [][]string{{Reading, Unpacking}, {Rendering, Compiling, Bodies}, {Arriving}}

// Spare is the least that has to be left for adapters, and for requests, enough
// for any one of what it is for that is of the usual size; mostRequests is what
// requests have at most. A quarter of theirs is for those on their way, since what
// a body is decoded to is several times as large.
const (
	Spare        = 64 << 20
	mostRequests = 512 << 20
)

// Account is where the memory of a process goes.
type Account struct {
	limit Limit
	parts []Part
	pools []*pool

	checked atomic.Int64 // when the system was asked last, in Unix milliseconds
	used    atomic.Int64 // what it said
}

// New returns the account of these parts, or an error with all of them in a table
// where they are more than the limit. An unknown limit is never reached.
func New(limit Limit, parts ...Part) (*Account, error) {
	a := &Account{limit: limit, parts: parts}
	rest := int64(1 << 62)
	if limit.Bytes > 0 {
		if rest = limit.Bytes - a.fixed(); rest < 2*Spare {
			return nil, errors.New(a.table())
		}
	}
	requests := min(rest/2, mostRequests)
	arriving := requests / 4
	a.pools = []*pool{newPool(rest-requests, pools[0]), newPool(requests-arriving, pools[1]), newPool(arriving, pools[2])}
	return a, nil
}

func (a *Account) fixed() (bytes int64) {
	for _, p := range a.parts {
		bytes += p.Bytes
	}
	return bytes
}

// table tells what does not fit, the largest first.
func (a *Account) table() string {
	parts := slices.Clone(a.parts)
	for _, names := range pools[:2] {
		parts = append(parts, Part{Name: strings.Join(names, ", "), Bytes: Spare})
	}
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.Bytes, a.Bytes) })
	var b strings.Builder
	total := a.fixed() + 2*Spare
	fmt.Fprintf(&b, "it may come to take %s of memory, more than %s (%s):\n", mebibytes(total), mebibytes(a.limit.Bytes), a.limit.From)
	for _, p := range parts {
		fmt.Fprintf(&b, "  %10s  %s", mebibytes(p.Bytes), p.Name)
		if p.Set != "" {
			fmt.Fprintf(&b, " (%s)", p.Set)
		}
		b.WriteByte('\n')
	}
	b.WriteString("  give smaller values to the settings named there, or a --memory-limit that says what it may take")
	return b.String()
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// Take sets memory aside for what comes and goes, and waits for it until ctx
// ends, in the order of asking. release gives it back.
func (a *Account) Take(ctx context.Context, what string, bytes int64) (release func(), err error) {
	if a == nil || bytes <= 0 {
		return func() {}, nil
	}
	at := slices.IndexFunc(a.pools, func(p *pool) bool { return slices.Contains(p.names, what) })
	p := a.pools[at]
	if bytes > p.size {
		return nil, fmt.Errorf("%w: %s would take %s, and %s are left for that of %s (%s)",
			ErrFull, what, mebibytes(bytes), mebibytes(p.size), mebibytes(a.limit.Bytes), a.limit.From)
	}
	if err := p.take(ctx, what, bytes); err != nil {
		return nil, fmt.Errorf("%w: %s would take %s: %w", ErrFull, what, mebibytes(bytes), err)
	}
	return sync.OnceFunc(func() { p.give(what, bytes) }), nil
}

// The shares of what is not mapped at which the Go runtime is to hold its heap,
// and at which new work is refused. The first is the lower one: below it the
// runtime lets its heap grow as it likes.
const (
	heapShare    = 0.90
	pressedShare = 0.95
)

// HeapLimit is what debug.SetMemoryLimit is to be told; 0: nothing.
func (a *Account) HeapLimit() int64 { return int64(heapShare * float64(a.unmapped())) }

// unmapped is the limit without the mapped parts; 0: there is none.
func (a *Account) unmapped() int64 {
	n := a.limit.Bytes
	for _, p := range a.parts {
		if p.Mapped {
			n -= p.Bytes
		}
	}
	return max(n, 0)
}

// PressedError: the system says that nearly all of the memory is taken.
type PressedError struct {
	Used, Limit int64
	From        string
}

func (e *PressedError) Error() string {
	return fmt.Sprintf("the server takes %s of memory, nearly all of the %s that are left beside the weights it has mapped (%s)", mebibytes(e.Used), mebibytes(e.Limit), e.From)
}

// freshness is for how long what the system said is held to be true.
const freshness = 200 * time.Millisecond

// Pressed is a PressedError while nearly all of the limit is taken. Calls close
// to each other ask the system once.
func (a *Account) Pressed() error {
	if a == nil || a.limit.Bytes == 0 {
		return nil
	}
	if used, limit := a.Used(), a.unmapped(); used > int64(pressedShare*float64(limit)) {
		return &PressedError{used, limit, a.limit.From}
	}
	return nil
}

// Used is what the system says counts towards the limit.
func (a *Account) Used() int64 {
	now, last := time.Now().UnixMilli(), a.checked.Load()
	if now-last >= freshness.Milliseconds() && a.checked.CompareAndSwap(last, now) {
		a.used.Store(a.limit.Used())
	}
	return a.used.Load()
}

// Limit is the account's.
func (a *Account) Limit() Limit { return a.limit }

// Line is a part as it is now.
type Line struct {
	Name       string
	Used, Most int64
}

// Lines are all of the account: its parts, then what comes and goes, each of which
// may take all of its pool.
func (a *Account) Lines() []Line {
	var lines []Line
	for _, p := range a.parts {
		used := p.Bytes
		if p.Used != nil {
			used = p.Used()
		}
		lines = append(lines, Line{p.Name, used, p.Bytes})
	}
	for _, p := range a.pools {
		lines = append(lines, p.lines()...)
	}
	return lines
}
