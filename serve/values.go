package serve

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
)

// modelName is the field model: a name, or null, which is the same as none.
type modelName string

func (m *modelName) decodeField(path string, raw json.RawMessage) error {
	if classOf(raw) == 'n' {
		return nil
	}
	return decodeInto(path, raw, (*string)(m))
}

// seedNumber is a seed: any whole number. Those of more than 64 bits count by
// their lowest 64, as negative ones do by their two's complement.
type seedNumber uint64

// maxSeedDigits is how long a seed may be written.
const maxSeedDigits = 128

func (s *seedNumber) decodeField(path string, raw json.RawMessage) error {
	if classOf(raw) == '0' && len(raw) <= maxSeedDigits {
		if n, ok := new(big.Int).SetString(string(raw), 10); ok {
			low := new(big.Int).And(n, new(big.Int).SetUint64(math.MaxUint64))
			*s = seedNumber(low.Uint64())
			return nil
		}
	}
	var n int64
	if err := decodeInto(path, raw, &n); err != nil { // a fraction, or 1e3
		return err
	}
	*s = seedNumber(n)
	return nil
}

// seedOf is the seed that a request gives, or one drawn for it.
func seedOf(seed *seedNumber) uint64 {
	if seed == nil {
		return rand.Uint64() >> 11 // exact as a JSON number
	}
	return uint64(*seed)
}

// nucleusOf is top_p as the engine has it, to which 0 is none: a client's 0 is the
// smallest nucleus there is, the likeliest token.
func nucleusOf(p float64) float32 {
	return max(float32(p), math.SmallestNonzeroFloat32)
}

// placeholders are what clients send as the model where theirs has no name: Hugging
// Face's own. They are the base, unless an adapter is called that.
var placeholders = []string{"tgi", "dummy"}
