package training

// Parameter is one tensor that is, or may be, trained.
type Parameter struct {
	Name  string // as the files name it
	Shape []int  // in the file
	// Turned tells that Value and Grad hold the transpose of the file's matrix.
	Turned  bool
	Value   []float32
	Grad    []float32 // empty while it is frozen
	InBlock bool      // of one of the base's blocks
	// Norm marks a parameter of a normalisation layer, which no rule decays.
	Norm bool
	// Up marks the second of two factors, which LoRA+ has learn faster.
	Up bool
	// Embedding marks an embedding, and LoRA on one, which LoRA+ gives a rate of
	// its own.
	Embedding bool
}

// Len is the number of values.
func (p *Parameter) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// count is the number of values of all parameters.
func count(params []*Parameter) int {
	n := 0
	for _, p := range params {
		n += p.Len()
	}
	return n
}

// inFileOrder returns the values as the file holds them: the transpose where
// the parameter is turned.
func (p *Parameter) inFileOrder(v []float32) []float32 {
	if !p.Turned {
		return v
	}
	rows, cols := p.Shape[0], p.Shape[1]
	out := make([]float32, len(v))
	for r := range rows {
		for c := range cols {
			out[r*cols+c] = v[c*rows+r]
		}
	}
	return out
}
