package dataset

import (
	"strings"
	"testing"
)

// TestInvocationFaults: an adapter that acts from its invocation tokens on learns
// nothing of an example that has them nowhere, or only behind all that it is to
// learn, as the token that ends a text stands.
func TestInvocationFaults(t *testing.T) {
	const bang, end = '!' - ' ' + 2, 1
	for name, c := range map[string]struct {
		row        string
		invocation []int32
		want       string
	}{
		"in the prompt":    {`{"prompt":"ab!","completion":"c"}`, []int32{bang}, ""},
		"in the answer":    {`{"prompt":"ab","completion":"!c"}`, []int32{bang}, ""},
		"nowhere":          {`{"prompt":"ab","completion":"c"}`, []int32{bang}, "it has not the adapter's invocation tokens [3]"},
		"at the end":       {`{"prompt":"ab","completion":"c"}`, []int32{end}, "invocation tokens [1] stand only behind what is learnt"},
		"none to look for": {`{"prompt":"ab","completion":"c"}`, nil, ""},
	} {
		e := encoder(t, 100)
		e.Invocation = c.invocation
		_, err := Open([]string{write(t, "x.jsonl", c.row+"\n")}, e, Options{Format: "prompt", Columns: columns})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), "x.jsonl:1: ") || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
