package runtime

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

var _ Decoder = (*tokenizer.Decoder)(nil)

// pieces is a Decoder whose tokens are given texts.
type pieces []string

func (p pieces) Push(token int32) string { return p[token] }
func (p pieces) Flush() string           { return "" }
func (p pieces) Show([]int32)            {}
func (p pieces) Continue()               {}

func TestStopStrings(t *testing.T) {
	for _, c := range []struct {
		pieces, stops, want string // parted by |
		stopped             bool
	}{
		{"one| two| three", "", "one| two| three|", false},
		{"one|STOP| two", "STOP", "one||", true},
		{"o ST|O|P two", "STOP", "o |||", true},
		{"o ST|O|R two", "STOP", "o ||STOR two|", false},
		{"a|ab|aab|c", "aabc", "||aab|", true},       // aabaabc
		{"xaab|aab|d", "aabc", "x|aab|aabd|", false}, // a start within a start
		{"x\n|\n", "\n\n|END", "x||", true},
		{"EN", "END", "|EN", false},
		{"der Gr|ü|ße", "üß", "der Gr||", true},
		{"first second", "second|first", "|", true},
	} {
		x := &text{decoder: pieces(strings.Split(c.pieces, "|"))}
		if c.stops != "" {
			x.stops = strings.Split(c.stops, "|")
		}
		var got []string
		stopped := false
		for i := range x.decoder.(pieces) {
			var s string
			s, stopped = x.push(int32(i), true)
			got = append(got, s)
			if stopped {
				break
			}
		}
		if !stopped {
			rest, _ := x.end()
			got = append(got, rest)
		}
		for len(got) < strings.Count(c.want, "|")+1 {
			got = append(got, "")
		}
		if g := strings.Join(got, "|"); g != c.want || stopped != c.stopped {
			t.Errorf("%q with stops %q gives %q (stopped %v), want %q", c.pieces, c.stops, g, stopped, c.want)
		}
	}
}

// TestTextIsWhatCuttingTheWholeGives: whatever the pieces, the events' texts
// are the whole text up to the first stop string.
func TestTextIsWhatCuttingTheWholeGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pieces(rapid.SliceOfN(rapid.StringMatching("[abü]{0,3}"), 1, 20).Draw(t, "pieces"))
		stops := rapid.SliceOfN(rapid.StringMatching("[abü]{3,4}"), 1, 3).Draw(t, "stops")
		x := &text{decoder: p, stops: stops, keeps: rapid.Bool().Draw(t, "keeps")}
		var got strings.Builder
		stopped := false
		so := ""
		for i := range p {
			so += p[i]
			var s string
			s, stopped = x.push(int32(i), true)
			if got.WriteString(s); stopped {
				break
			}
		}
		if !stopped {
			rest, _ := x.end()
			got.WriteString(rest)
		}
		want := so
		cut, stop := firstOf(so, stops)
		if cut >= 0 {
			want = so[:cut]
			if x.keeps {
				want += stop
			}
		}
		if got.String() != want || stopped != (cut >= 0) {
			t.Fatalf("%q, stopped %v, want %q", got.String(), stopped, want)
		}
	})
}

func TestTextNeverSplitsACharacter(t *testing.T) {
	tok, err := tokenizer.Load(modeltest.Shared(t, "tokenizers", "smollm2"))
	if err != nil {
		t.Fatal(err)
	}
	const whole = "naïve 你好, 👩‍🚀 und \U0001F600!"
	d := tok.NewDecoder(true)
	d.Continue()
	x := &text{decoder: d, stops: []string{"\U0001F600"}}
	var got string
	stopped := false
	tokens, err := tok.Encode(whole, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		var s string
		if s, stopped = x.push(token, true); !utf8.ValidString(s) {
			t.Fatalf("%q is half a character", s)
		}
		if got += s; stopped {
			break
		}
	}
	if want, _, _ := strings.Cut(whole, "\U0001F600"); got != want || !stopped {
		t.Errorf("%q, stopped %v", got, stopped)
	}
}
