package runtime

import "github.com/peft-serve/peft-serve/kernels"

// giveBack gives back the blocks of a sequence that no layer of the base looks back
// on from its next position, or from any after that. What is in them stays in the
// prefix cache until their pages are needed.
func (e *Engine) giveBack(s *sequence) {
	window := e.model.Config().Window
	if window == 0 || e.encoder {
		return
	}
	for seen := s.computed + 1 - window; (s.passed+1)*kernels.BlockLen <= seen; s.passed++ {
		e.blocks.release(s.blocks[s.passed])
		s.blocks[s.passed] = nobody
	}
}
