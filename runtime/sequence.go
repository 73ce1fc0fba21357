package runtime

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// sequence is a request on its way through the engine. Between Submit and its
// end it belongs to the step loop, but for gone and place.
type sequence struct {
	id      uint64 // in the order of Submit
	request *Request
	task    int // of the request's Tasks
	party   party
	stream  *Stream
	lease   *catalogue.Lease      // nil: the base
	gone    atomic.Pointer[error] // why it has to end
	state   state
	place   place // while it waits for its first slot; guarded by Engine.mu
	turn    turn

	// tokens is what the sequence consists of: the adapter's virtual tokens
	// (below 0), the prompt, the completion. Keys and values of the first
	// computed ones are in blocks; the first labelled blocks of them have been
	// offered to the prefix cache, key being the last one's. Those passed are nobody.
	tokens   []int32
	types    []int32 // of the tokens; nil: all 0
	virtual  int
	computed int
	blocks   []int32
	passed   int // the first of blocks, given back since no layer looks back on them
	labelled int
	key, low digest // of all layers; of those on which no adapter acts
	identity identity
	same     *sameText // an encoder's text, until the sequence ends; nil: it shares nothing
	rows     int       // that an encoder's step has room for

	from int // the position from which the adapter acts

	vocabulary int          // tokens of its logits
	head       *models.Head // that its scores come from; nil: it asks for none
	classes    int          // of those
	kinds      []kind
	generation generation // among them, if there is anything to generate
	cached     int

	submitted, admitted, latest time.Time
	first                       time.Duration // from submitted
	last                        Event         // sent at the end
}

// state is where a sequence is.
type state uint8

const (
	queued state = iota
	loading
	preempted
	running
	ended
)

// send has an event that is not the last wait in the stream.
func (s *sequence) send(e Event) {
	e.Task = s.task
	s.stream.send(e)
}

// pending is the number of tokens that have not been computed.
func (s *sequence) pending() int { return len(s.tokens) - s.computed }

// promptEnd is the place of the first completion token.
func (s *sequence) promptEnd() int { return s.virtual + len(s.request.Prompt) }

// typesFrom are those of the tokens from a place on; nil: all 0.
func (s *sequence) typesFrom(place int) []int32 {
	if s.types == nil {
		return nil
	}
	return s.types[place:]
}

// kind is the one that wants something of the row of the token at that place;
// nil: none.
func (s *sequence) kind(place int) kind {
	for _, k := range s.kinds {
		if k.wants(s, place) {
			return k
		}
	}
	return nil
}

// whole reports whether the prompt has to be computed from its start.
func (s *sequence) whole() bool {
	return slices.ContainsFunc(s.kinds, func(k kind) bool { return k.whole() })
}

// blocksFor is the number of blocks that hold n positions.
func blocksFor(n int) int { return (n + kernels.BlockLen - 1) / kernels.BlockLen }
