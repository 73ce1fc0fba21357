package spelling

import (
	"slices"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	for _, c := range []struct{ unknown, names, want string }{
		{"promt", "prompt stop", "prompt"},
		{"prmt", "stop prompt", "prompt"},
		{"pmt", "prompt stop", ""},
		{"topp", "top_k top_p", "top_p"},
		{"top", "top_p top_k", "top_k"},
		{"tpo", "top", "top"},
		{"xy", "n id", ""},
		{"", "n", ""},
		{strings.Repeat("x", 65), strings.Repeat("x", 66), ""},
	} {
		if got := Nearest(c.unknown, slices.Values(strings.Fields(c.names))); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.unknown, c.names, got, c.want)
		}
	}
}
