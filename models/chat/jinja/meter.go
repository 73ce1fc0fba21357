package jinja

// Limits bound a rendering by counts alone, so that the same template with the
// same variables ends in the same way on a busy machine. Zero is the default.
type Limits struct {
	Steps    int // operations, and work that grows with an operand's size
	Produced int // bytes of output
	Held     int // bytes of strings and containers made, in all
	Depth    int // calls of macros and recursive loops inside each other
}

// The defaults of Limits.
const (
	DefaultSteps    = 10_000_000
	DefaultProduced = 16 << 20
	DefaultHeld     = 128 << 20
	DefaultDepth    = 200
)
