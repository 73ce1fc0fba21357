package runtime

import "github.com/peft-serve/peft-serve/kernels"

// giveBack gives back the blocks of a sequence that no layer of the base looks back
// on from its next position, or from any after that. What is in them stays in the
// prefix cache until their pages are needed: those given back after one step give way
// before those after the next, and of one step's the last before the first.
func (e *Engine) giveBack(s *sequence) {
	window := e.model.Config().Window
	if window == 0 || e.encoder {
		return
	}
	past := s.blocks[s.passed:max(s.passed, (s.computed+1-window)/kernels.BlockLen)]
	e.blocks.drop(past)
	for i := range past {
		past[i] = nobody
	}
	s.passed += len(past)
}
