package runtime

import (
	"context"
	"errors"
	"sync"
)

// Stream is the answer to one request. Events wait in it until they are
// taken, so a slow client holds up nobody.
type Stream struct {
	cancel func()

	mu     sync.Mutex
	events []Event
	taken  int
	err    error // set when nothing more will come
	ready  chan struct{}
}

func newStream(cancel func()) *Stream {
	return &Stream{cancel: cancel, ready: make(chan struct{}, 1)}
}

// ErrEnd is what Next returns after the last event. It is none that a failed
// load can wrap, as io.EOF is.
var ErrEnd = errors.New("runtime: the sequence has ended")

// Next waits for the next event. After the last one it returns ErrEnd; if the
// sequence failed, the error that ended it. When ctx ends it returns ctx's
// error, and the sequence goes on. One goroutine at a time may call it.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	for {
		s.mu.Lock()
		if s.taken < len(s.events) {
			e := s.events[s.taken]
			s.events[s.taken] = Event{}
			if s.taken++; s.taken == len(s.events) {
				s.events, s.taken = s.events[:0], 0
			}
			s.mu.Unlock()
			return e, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return Event{}, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Close gives the answer up: the sequence leaves the batch within a step.
// Closing a stream that has ended does nothing.
func (s *Stream) Close() { s.cancel() }

func (s *Stream) send(e Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	s.notify()
}

// end makes Next return err (nil: ErrEnd) after the events that wait.
func (s *Stream) end(err error) {
	if err == nil {
		err = ErrEnd
	}
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.notify()
}

func (s *Stream) notify() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
