package serve

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/runtime"
)

// A backlog holds the events of a generation's choices until they are taken.
// The engine waits for no client, so a stream's backlog is bounded: once much
// waits there, a client that keeps the server waiting as well is given up. One
// that reads as fast as it is written to is not, however fast the engine is.
type backlog struct {
	mu     sync.Mutex
	events []choiceEvent
	bytes  int
	ready  chan struct{} // holds one if something came since the last look

	waited   func() time.Duration // how long writes to the client have waited in all; nil: it is no stream
	patience time.Duration        // how long they may while much waits
	much     bool
	since    time.Duration // what waited said when it became much
}

const (
	// mostUnread is how many bytes of events are much, about.
	mostUnread = 4 << 20
	// unreadPatience is a backlog's patience.
	unreadPatience = 5 * time.Second
)

// errUnread is why a generation ends whose client lets its stream wait.
var errUnread = errors.New("the client reads its stream too slowly")

func newBacklog() *backlog { return &backlog{ready: make(chan struct{}, 1)} }

// bound makes it the backlog of a stream.
func (b *backlog) bound(waited func() time.Duration, patience time.Duration) {
	b.mu.Lock()
	b.waited, b.patience = waited, patience
	b.mu.Unlock()
}

// put adds an event, and refuses it if the client is to be given up.
func (b *backlog) put(e choiceEvent) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waited != nil && b.bytes > mostUnread {
		if waited := b.waited(); !b.much {
			b.much, b.since = true, waited
		} else if waited-b.since > b.patience {
			n := b.bytes
			b.events, b.bytes = nil, 0
			return fmt.Errorf("%w: %d bytes of it wait", errUnread, n)
		}
	}
	b.events, b.bytes = append(b.events, e), b.bytes+sizeOf(e.Event)
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
	b.much = b.much && b.bytes > mostUnread
	return e, true
}

// sizeOf is how many bytes an event takes in memory, about.
func sizeOf(e runtime.Event) int {
	n := 256 + len(e.Text) + 8*len(e.Top)
	for _, p := range e.Prompt {
		n += 32 + 8*len(p.Top)
	}
	return n
}
