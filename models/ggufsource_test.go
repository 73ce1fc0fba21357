package models

import (
	"encoding/json"
	"testing"
)

// TestDecimal: transformers takes a factor of 8 for an integer, and says so.
func TestDecimal(t *testing.T) {
	for v, want := range map[decimal]string{8: "8.0", 0.5: "0.5", 1e-6: "1e-06", 5e5: "500000.0", 1e21: "1e+21"} {
		b, err := json.Marshal(v)
		if err != nil || string(b) != want {
			t.Errorf("%v is written %s (%v), want %s", float64(v), b, err, want)
		}
	}
}
