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
		`{"temperature":"hot","top_k":50.5,"min_p":[]}`: {`temperature is "hot", want a number`, "top_k is 50.5, want a whole number", "min_p is [], want a number"},
		`{"top_p":1e400}`: {"top_p is 1e400"},
	} {
		_, err := ParseSamplingDefaults([]byte(file))
		for _, name := range want {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v; want %s", err, name)
			}
		}
	}
	d, err := ParseSamplingDefaults([]byte(`{"Temperature":-1,"top_p":null,"top_k":7}`)) // keys are as transformers spells them
	if err != nil || d.Temperature != nil || d.TopP != nil || *d.TopK != 7 {
		t.Errorf("%+v, %v", d, err)
	}
}
