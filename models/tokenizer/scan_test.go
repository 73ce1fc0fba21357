package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// letters is what the random texts of these tests are made of: one or more of
// everything that the expressions tell apart.
var letters = []string{
	"a", "b", "Z", "é", "ß", "中", "\u0301", "1", "2", "½", "四", " ", " ", "  ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u3000",
	".", ",", "!", "'", "'", "s", "S", "ſ", "t", "re", "VE", "ll", "lL", "d", "m", "_", "-", "😀", "\u200d", "$", "^",
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(14) {
		b.WriteString(letters[r.IntN(len(letters))])
	}
	return b.String()
}

// TestScanners holds the hand-written scanners against the expressions.
func TestScanners(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for expr, scan := range scanners {
		// regexp2 does not fold s to U+017F, which the reference does.
		oracle, err := compile(strings.ReplaceAll(expr, "(?i:'s|", "(?i:'s|'ſ|"))
		if err != nil {
			t.Fatal(err)
		}
		for range 5000 {
			text := randomText(r)
			var want, got []string
			for _, m := range matches(oracle, text) {
				want = append(want, text[m[0]:m[1]])
			}
			for i := 0; i < len(text); {
				end := scan(text, i)
				got = append(got, text[i:end])
				i = end
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s\non %q: %q, want %q", expr, text, got, want)
			}
		}
	}
}

// TestMerges holds the two ways to join pairs against each other.
func TestMerges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		joins := make(map[pair]join)
		for range 60 {
			joins[pairOf(r.Int32N(12), r.Int32N(12))] = join{r.Int32N(20), r.Int32N(12)}
		}
		ids := make([]int32, 1+r.IntN(fewSymbols))
		for i := range ids {
			ids[i] = r.Int32N(4)
		}
		var s scratch
		s.ids = slices.Clone(ids)
		many := s.mergeMany(nil, joins)
		few := mergeFew(joins, slices.Clone(ids), &s.few)
		if !slices.Equal(few, many) {
			t.Fatalf("%v: %v by scanning, %v by heap", ids, few, many)
		}
	}
}

func TestByteAlphabet(t *testing.T) {
	seen := make(map[rune]bool)
	for b := range 256 {
		raw := string([]byte{byte(b)})
		piece := spellBytes(raw)
		if back, ok := alphabetBytes(piece); !ok || back != raw {
			t.Errorf("byte %#x is spelled %q and read back as %q", b, piece, back)
		}
		for _, r := range piece {
			if seen[r] {
				t.Errorf("%q spells two bytes", r)
			}
			seen[r] = true
		}
		if got, ok := fallbackByte(fallbackPiece(byte(b))); !ok || got != byte(b) {
			t.Errorf("byte %#x comes back from %s as %#x", b, fallbackPiece(byte(b)), got)
		}
	}
	if piece := spellBytes(" the\n"); piece != "ĠtheĊ" {
		t.Errorf("\" the\\n\" is spelled %q", piece)
	}
}
