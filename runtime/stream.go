package runtime

import (
	"context"
	"errors"
	"sync"
)

// Stream is the answer to one request. Events wait in it until they are
// taken, so a slow client holds up nobody.
type Stream struct {
	cancel  func()
	unwatch func() bool // stops watching the client's context
	tasks   bool        // it is the answer of Request.Tasks

	mu     sync.Mutex
	events []Event
	taken  int
	left   int   // sequences that have not ended
	err    error // set when nothing more will come
	ready  chan struct{}
}

func newStream(sequences int, tasks bool, cancel func()) *Stream {
	s := &Stream{cancel: cancel, left: sequences, tasks: tasks, ready: make(chan struct{}, 1)}
	if tasks {
		s.events = make([]Event, 0, sequences)
	}
	return s
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
func (s *Stream) Close() {
	s.mu.Lock()
	ended := s.left == 0
	s.mu.Unlock()
	if !ended {
		s.cancel()
	}
}

func (s *Stream) send(e Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	s.notify()
}

// fail makes Next return err after the events that wait, before the sequence has ended.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.notify()
}

// end is the end of a sequence: with its last event or, where err is not nil, that. Next
// returns it, or ErrEnd, after the events that wait. Of several sequences it is an
// event, and who waits is woken when all have ended, or by notify.
func (s *Stream) end(last Event, err error) {
	s.mu.Lock()
	switch {
	case s.tasks && err != nil:
		s.events = append(s.events, Event{Task: last.Task, Token: NoToken, Err: err})
	case err == nil:
		s.events = append(s.events, last)
	case s.err == nil:
		s.err = err
	}
	s.left--
	ended := s.left == 0
	if ended && s.err == nil {
		s.err = ErrEnd
	}
	s.mu.Unlock()
	if ended {
		s.unwatch()
		s.notify()
	}
}

func (s *Stream) notify() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
