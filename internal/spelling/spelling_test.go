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
		{"nope", "name note", "note"},
		{"nope", "name", ""},
		{"bsae", "base", "base"},
		{"ids", "n id", "id"},
		{"lr", "l r", ""},
		{"", "n", ""},
		{strings.Repeat("x", 65), strings.Repeat("x", 66), ""},
	} {
		if got := Nearest(c.unknown, slices.Values(strings.Fields(c.names))); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.unknown, c.names, got, c.want)
		}
	}
}

// TestSetting: other programs' names lead to those that are known, whichever
// way they are written.
func TestSetting(t *testing.T) {
	for _, c := range []struct{ unknown, known, want string }{
		{"rank", "lr r base", "r"},
		{"learning_rate", "lr r base", "lr"},
		{"Learning-Rate", "lr", "lr"},
		{"learning-rate", "base", ""},
		{"kv_cache", "kv-cache", "kv-cache"},
		{"thread", "threads", "threads"},
		{"lx", "lr", ""},
		{"model", "base method", "base"},
		{"nope", "name base", ""},
		{"adrr", "addr", "addr"},
		{"solts", "slots", "slots"},
	} {
		if got := Setting(c.unknown, slices.Values(strings.Fields(c.known))); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.unknown, c.known, got, c.want)
		}
	}
}
