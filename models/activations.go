package models

import (
	"fmt"
	"strings"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/kernels"
)

// Activations is what a base's quantised weights are multiplied with. What an adapter
// adds is computed from the activations as they are, under each.
type Activations uint8

const (
	ActivationsF32 Activations = iota // as they are: what the dequantised base computes
	ActivationsI8                     // rounded to 8 bits, with a scale for each 32: see kernels.Weight.Int8
)

var activations = [...]string{ActivationsF32: "f32", ActivationsI8: "i8"}

// ParseActivations reads the name of Activations.
func ParseActivations(name string) (Activations, error) {
	for a, known := range activations {
		if known == name {
			return Activations(a), nil
		}
	}
	return ActivationsF32, fmt.Errorf("%q is none of %s", name, strings.Join(activations[:], ", "))
}

func (a Activations) String() string { return activations[a] }

// Int8Bytes is what RoundActivations takes for m.
func Int8Bytes(m Model) (bytes int) {
	for _, l := range quantised(m) {
		bytes += l.W.Int8Bytes()
	}
	return bytes
}

// quantised lists the linears whose weights are.
func quantised(m Model) (linears []*Linear) {
	for _, s := range m.Sites() {
		if s.Kind == LinearSite && s.Linear.W.Format.BlockLen() > 1 {
			linears = append(linears, s.Linear)
		}
	}
	return linears
}

// RoundActivations has every product of m's quantised weights, the output embedding
// among them, round its activations to 8 bits, before anything is computed. A base
// without such a weight is refused: nothing would be rounded. m is the model of s.
func (s *Source) RoundActivations(m Model, p *kernels.Pool) error {
	linears := quantised(m)
	if len(linears) == 0 {
		return fmt.Errorf("%s: activations are rounded for quantised weights (Q8_0, Q4_0, Q4_K and the like), and the base's are %s", s.Name, m.Config().Precision)
	}
	room, err := disk.Memory(Int8Bytes(m))
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	s.laid = room
	left := room.Bytes
	for _, l := range linears {
		n := l.W.Int8Bytes()
		l.W = p.Int8(l.W, left[:n:n])
		left = left[n:]
	}
	m.Config().Activations = ActivationsI8
	return nil
}
