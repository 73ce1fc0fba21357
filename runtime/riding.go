package runtime

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/peft-serve/peft-serve/models"
)

// Texts of the same tokens that an encoder has to compute at the same time, for
// requests of several adapters or of several clients, ride on one trunk: what no
// adapter acts on yet is computed once in a step, and kept for those of them that wait
// for the next. The bits are those of each text alone. As in the prefix cache, only
// requests of one scope share, and identity is content.

// sameText is a text that sequences have in common.
type sameText struct {
	id        digest
	trunk     models.Trunk
	sequences int    // that have it, waiting or running
	planned   int    // of those, in the step
	toTheEnd  uint64 // the last step with one that rides on the trunk to its end
}

// told is a request with the identity of its text.
type told struct {
	request *Request
	id      digest
}

// recognise finds the text of a sequence that is ready to run among those of others.
func (e *Engine) recognise(s *sequence) {
	if !e.encoder || s.virtual > 0 { // with virtual tokens an adapter acts from the start
		return
	}
	if e.told.request != s.request { // the tasks of a request come one after the other
		e.told.request, e.told.id = s.request, e.textID(s.request)
	}
	id := e.told.id
	t := e.texts[id]
	if t == nil {
		t = &sameText{id: id}
		e.texts[id] = t
	}
	if t.sequences++; t.sequences == 1 {
		e.resting = slices.DeleteFunc(e.resting, func(i *sameText) bool { return i == t })
	}
	s.same = t
}

// textID is the identity of a request's text: its scope, tokens and types.
func (e *Engine) textID(r *Request) digest {
	root := sha256.Sum256([]byte(r.Scope))
	e.bytes = append(e.bytes[:0], root[:]...)
	for _, t := range r.Prompt {
		e.bytes = binary.LittleEndian.AppendUint32(e.bytes, uint32(t))
	}
	for _, t := range r.Types { // none, or as many as tokens
		e.bytes = binary.LittleEndian.AppendUint32(e.bytes, uint32(t))
	}
	e.bytes = binary.LittleEndian.AppendUint32(e.bytes, uint32(len(r.Prompt)))
	return sha256.Sum256(e.bytes)
}

// forget is called at a sequence's end. What is kept of a text goes with the last.
func (e *Engine) forget(s *sequence) {
	t := s.same
	if t == nil {
		return
	}
	s.same = nil
	switch t.sequences--; {
	case t.sequences > 0:
	case s.request.Again && t.trunk.Rows() > 0:
		e.resting = append(e.resting, t)
	default:
		e.drop(t)
	}
}

// drop lets go what is kept of a text.
func (e *Engine) drop(t *sameText) {
	e.batch.MayKeep += t.trunk.Rows()
	delete(e.texts, t.id)
}

// ride is how a sequence rides in the step that is planned.
func (s *sequence) ride() models.Ride {
	on := models.Ride{Layers: s.identity.shared}
	if t := s.same; t != nil && (t.sequences > 1 || t.trunk.Rows() > 0 || s.request.Again) {
		on.Trunk, on.Keep = &t.trunk, t.sequences > t.planned || s.request.Again
	}
	return on
}

// countRiders counts the sequences of each text in the step that is planned, and lets
// go of idle texts as far as these may want the room.
func (e *Engine) countRiders() {
	for _, w := range e.works {
		if t := w.s.same; t != nil {
			t.planned = 0
		}
	}
	wants := 0
	for _, w := range e.works {
		if t := w.s.same; t != nil {
			if t.planned++; t.planned == 1 && (t.sequences > 1 || w.s.request.Again) {
				wants += 2 * w.count // where its adapters part, and behind the last layer
			}
		}
	}
	for len(e.resting) > 0 && e.batch.MayKeep < wants {
		e.drop(e.resting[0])
		e.resting = slices.Delete(e.resting, 0, 1)
	}
}

// roomFor reports whether the step can hold one more text, which is computed
// whole: those that run are computed in it, all of them. One that rides on a trunk to
// its end takes the row that its head reads.
func (e *Engine) roomFor(s *sequence) bool {
	s.rows = len(s.tokens)
	rides := s.same != nil && s.identity.shared == e.model.Config().Layers
	if rides && s.same.toTheEnd == e.round && s.head != nil && s.head.Task == models.Classify && !s.head.Mean {
		s.rows = 1
	}
	rows := 0
	for _, r := range e.running {
		rows += r.rows
	}
	if rows > 0 && rows+s.rows > e.options.StepTokens {
		return false
	}
	if rides {
		s.same.toTheEnd = e.round
	}
	return true
}
