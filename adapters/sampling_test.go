package adapters

import (
	"strings"
	"testing"
)

// TestParseSamplingDefaults names every value that cannot be sampled with.
func TestParseSamplingDefaults(t *testing.T) {
	for file, want := range map[string][]string{
		`{"temperature":-1,"top_p":0,"top_k":-2,"min_p":2,"repetition_penalty":0}`: {
			"temperature is -1", "top_p is 0", "top_k is -2", "min_p is 2", "repetition_penalty is 0",
		},
		`{"temperature":"hot"}`: {"temperature"},
	} {
		_, err := ParseSamplingDefaults([]byte(file))
		for _, name := range want {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v; want %s", err, name)
			}
		}
	}
}
