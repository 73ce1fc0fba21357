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

// matchesOf are the matches of x in text.
func matchesOf(t *testing.T, x expression, text string) (found []string) {
	t.Helper()
	err := x.each(text, func(start, end int) bool {
		found = append(found, text[start:end])
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// oracleOf is regexp2's reading of an expression. It does not fold s to U+017F,
// which the reference does.
func oracleOf(t *testing.T, expr string) expression {
	t.Helper()
	oracle, err := newBacktracking(strings.ReplaceAll(expr, "(?i:'s|", "(?i:'s|'ſ|"))
	if err != nil {
		t.Fatal(err)
	}
	return oracle
}

// TestWordClass: what Oniguruma takes for \w and not, a character of each kind.
func TestWordClass(t *testing.T) {
	const words, others = "aZé中0٣Ⅷ_‿\u0301\u0903\u0488²³¹½Ⓐⓩ🄰🅩🆉", "\u200d௰①-$ \u00ad™"
	for expr, want := range map[string]string{`\w`: words, `[\w]`: words, `\W`: others} {
		x, ok := newLinear(expr)
		if !ok {
			t.Fatalf("%s is not linear", expr)
		}
		if got := strings.Join(matchesOf(t, x, words+others), ""); got != want {
			t.Errorf("%s matches %q, want %q", expr, got, want)
		}
	}
}

// TestScanners holds the hand-written scanners against the expressions.
func TestScanners(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for expr, scan := range scanners {
		oracle := oracleOf(t, expr)
		for range 5000 {
			text := randomText(r)
			var got []string
			for i := 0; i < len(text); {
				end := scan(text, i)
				got = append(got, text[i:end])
				i = end
			}
			if want := matchesOf(t, oracle, text); !slices.Equal(got, want) {
				t.Fatalf("%s\non %q: %q, want %q", expr, text, got, want)
			}
		}
	}
}

// TestLinear holds the translation of expressions against regexp2's reading.
func TestLinear(t *testing.T) {
	exprs := []string{`\s+`, `\S+`, `[\S\n]+`, `\d{1,2}|\D`, `a?`, `(?:a|b)*`, `[^a-z\s]+`, `\s+(?!\S)|\s+`, `.`, `[.\-]|\p{Lu}\p{Ll}*`, `(a)(b)?|\s+(?!\S)|\s+`}
	for _, pre := range ggufPre {
		exprs = append(exprs, pre.patterns...)
	}
	r := rand.New(rand.NewPCG(13, 14))
	for _, expr := range exprs {
		x, ok := newLinear(expr)
		if !ok {
			t.Errorf("%s is not linear", expr)
			continue
		}
		oracle := oracleOf(t, expr)
		for range 500 {
			text := randomText(r)
			if got, want := matchesOf(t, x, text), matchesOf(t, oracle, text); !slices.Equal(got, want) {
				t.Fatalf("%s\non %q: %q, want %q", expr, text, got, want)
			}
		}
	}
	for _, expr := range []string{`^a`, `a(?!b)`, `(?<=a)b`, `\ba`, `a++`, `(?m)a`, `(?>a)`, `a{,2}`, `\h`, `\Ga`, `\1`, `[\W]`, `[]a]`, `(?<n>a)`} {
		if _, ok := newLinear(expr); ok {
			t.Errorf("%s is taken for linear", expr)
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
		s.ctx = t.Context()
		for _, id := range ids {
			s.symbols = append(s.symbols, symbol{id: id})
		}
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
