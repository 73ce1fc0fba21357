package runtime

import (
	"fmt"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// classifying keeps the scores that a head makes of a prompt: of its one row that the
// head reads, or of each of its tokens.
type classifying struct {
	through *models.Head
	first   int            // place of the first row that is kept
	end     int            // of the prompt
	rows    kernels.Matrix // what is kept
}

func newClassifying(s *sequence) *classifying {
	k := &classifying{through: s.head, first: s.virtual, end: s.promptEnd()}
	rows := len(s.request.Prompt)
	if s.head.Task == models.Classify {
		virtual := 0
		if a := s.lease.Adapter(); a != nil {
			virtual = a.VirtualTokens()
		}
		rows, k.first = 1, s.virtual+s.head.Place(s.request.Prompt, virtual)
	}
	k.rows = kernels.NewMatrix(rows, s.classes)
	return k
}

func (k *classifying) wants(_ *sequence, place int) bool {
	return place >= k.first && place < k.first+k.rows.Rows
}

// whole reports whether anything but the last row is needed.
func (k *classifying) whole() bool { return k.first < k.end-1 }

func (k *classifying) head() passage { return passage{scores: k.through} }

func (k *classifying) fill(o *output, _ *choice, scores []float32) {
	copy(k.rows.Row(o.place-k.first), scores)
}

func (k *classifying) take(*output) {}

func (k *classifying) computed(_ *Engine, s *sequence) (Finish, error) {
	s.last = Event{Token: NoToken, Encoded: k.rows}
	return FinishLength, nil
}

// classify finds the head of a request that asks for scores: the adapter's, which may
// be nil, or else the base's.
func (e *Engine) classify(s *sequence, a catalogue.Adapter) (err error) {
	if s.request.Encode != EncodeScores {
		return nil
	}
	c := e.model.Config()
	classes := c.Classes
	if a != nil && a.Classes() != nil {
		classes = a.Classes()
	}
	if classes == nil {
		return fmt.Errorf("%w: neither the base nor an adapter that answers has a head", models.ErrTask)
	}
	s.classes = len(classes.Names)
	s.head, err = c.HeadOf(classes)
	return err
}
