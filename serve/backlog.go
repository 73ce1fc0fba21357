package serve

import (
	"errors"
	"fmt"
	"sync"

	"github.com/peft-serve/peft-serve/runtime"
)

// A backlog holds the events of a generation's choices until they are taken.
// The engine waits for no client, so a stream's backlog is bounded: a client
// that reads so much slower than its answer is made is given up.
type backlog struct {
	mu      sync.Mutex
	events  []choiceEvent
	bytes   int
	bounded bool
	ready   chan struct{} // holds one if something came since the last look
}

// mostUnread is how many bytes of a stream's events may wait, about.
const mostUnread = 4 << 20

// errUnread is why a generation ends whose client lets its stream wait.
var errUnread = errors.New("the client reads its stream too slowly")

func newBacklog() *backlog { return &backlog{ready: make(chan struct{}, 1)} }

// put adds an event, and refuses it if too many wait.
func (b *backlog) put(e choiceEvent) error {
	size := sizeOf(e.Event)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bounded && len(b.events) > 0 && b.bytes+size > mostUnread {
		n := b.bytes
		b.events, b.bytes = nil, 0
		return fmt.Errorf("%w: %d bytes of it wait", errUnread, n)
	}
	b.events, b.bytes = append(b.events, e), b.bytes+size
	select {
	case b.ready <- struct{}{}:
	default:
	}
	return nil
}

// take returns the next event, if there is one.
func (b *backlog) take() (e choiceEvent, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) == 0 {
		return e, false
	}
	e, b.events[0] = b.events[0], choiceEvent{}
	if b.events = b.events[1:]; len(b.events) == 0 {
		b.events = nil
	}
	b.bytes -= sizeOf(e.Event)
	return e, true
}

// bound makes it the backlog of a stream.
func (b *backlog) bound() {
	b.mu.Lock()
	b.bounded = true
	b.mu.Unlock()
}

// sizeOf is how many bytes an event takes in memory, about.
func sizeOf(e runtime.Event) int {
	n := 256 + len(e.Text) + 8*len(e.Top)
	for _, p := range e.Prompt {
		n += 32 + 8*len(p.Top)
	}
	return n
}
