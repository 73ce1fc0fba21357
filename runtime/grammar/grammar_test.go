package grammar

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A regular expression's grammar has the texts that Go's own engine matches as a
// whole, and no others.
func TestRegex(t *testing.T) {
	for _, pattern := range []string{
		``, `a`, `abc|abd|x`, `(ab)*c?`, `a{2,4}b{0,2}`, `[^a]b+`, `.{1,3}`, `[α-ω]{2}|é`, `(a|b)*abb`, `\d{1,2}-\d?`, `(?i)äB`, `^a$`, `(a?){3}`, `(a*)*`, `(?s).`, `[\x{80}-\x{10FFFF}]`,
	} {
		g, err := Regex(pattern)
		require.NoError(t, err, pattern)
		oracle := regexp.MustCompile(`^(?:` + pattern + `)$`)
		draw := rand.New(rand.NewPCG(1, uint64(len(pattern))))
		letters := []string{"a", "b", "c", "d", "x", "1", "2", "-", "α", "ω", "é", "ä", "Ä", "B", "\n", "\U00010000", "\u2028"}
		letters = append(slices.DeleteFunc(letters, func(l string) bool { return !strings.Contains(pattern, l) && draw.IntN(2) == 0 }), "b")
		hits := 0
		for range 60000 {
			var s strings.Builder
			for range draw.IntN(8) {
				s.WriteString(letters[draw.IntN(len(letters))])
			}
			want := oracle.MatchString(s.String())
			if want {
				hits++
			}
			require.Equal(t, want, g.Match(s.String()), "%q and %q", pattern, s.String())
		}
		require.NotZero(t, hits, pattern)
	}
	for _, pattern := range []string{`a\bb`, `(`, `a(?=b)`, `((a{1000})*b{1000}){1000}`} {
		_, err := Regex(pattern)
		require.Error(t, err, pattern)
	}
}

// tokens is a vocabulary of texts; the last token ends an answer.
func tokens(texts ...string) *Vocabulary {
	end := int32(len(texts))
	return NewVocabulary(len(texts)+1, func(id int32) []byte {
		if id == end {
			return nil
		}
		return []byte(texts[id])
	}, NewRoom(1<<20))
}

// someTokens are all texts of up to three of these letters.
func someTokens(letters string) *Vocabulary {
	var texts, last []string
	last = []string{""}
	for range 3 {
		var next []string
		for _, l := range last {
			for _, c := range letters {
				next = append(next, l+string(c))
			}
		}
		texts, last = append(texts, next...), next
	}
	return tokens(texts...)
}

// What a mask allows is what leads to a text of the grammar: checked against
// reading each token byte by byte, on the way of random answers.
func TestMask(t *testing.T) {
	list := named{is: sequence{text("["), opt(sequence{call(1), star(sequence{text(","), call(1)})}), text("]")}}
	value := named{is: choice{call(0), runesOf("ab"), text("aba")}}
	nested, err := newGrammar([]named{list, value}, newBudget())
	require.NoError(t, err)
	repeated, err := Regex(`(ab|a)*b?`)
	require.NoError(t, err)
	v := someTokens("ab[],")
	for _, g := range []*Grammar{nested, repeated} {
		for seed := range uint64(200) {
			draw := rand.New(rand.NewPCG(3, seed))
			m := g.In(v).NewMatcher([]int32{int32(v.size) - 1})
			var answer string
			for range 12 {
				mask, n := m.Mask()
				var allowed []int32
				for id := range int32(v.size) {
					if mask[id/64]>>(id%64)&1 == 1 {
						allowed = append(allowed, id)
					}
					want := m.Whole()
					if id < int32(v.size)-1 {
						want = begins(g, answer+string(v.texts[id]))
					}
					require.Equal(t, want, mask[id/64]>>(id%64)&1 == 1, "%q after %q", v.texts[id], answer)
				}
				require.Len(t, allowed, n)
				require.Equal(t, g.Match(answer), m.Whole(), answer)
				if n == 0 {
					break
				}
				id := allowed[draw.IntN(n)]
				require.True(t, m.Accept(id))
				if answer += string(v.texts[id]); id == int32(v.size)-1 {
					_, n := m.Mask()
					require.Zero(t, n)
					break
				}
			}
			require.False(t, m.Accept(-1))
		}
	}
}

func runesOf(s string) (r runes) {
	for _, c := range s {
		r = append(r, runeRange{c, c})
	}
	return r
}

// begins reports whether a text is the beginning of one of the grammar's.
func begins(g *Grammar, text string) bool {
	r := newReader(g)
	r.begin(g.first(), nil)
	for i := range len(text) {
		if !r.step(text[i]) {
			return false
		}
	}
	return true
}

func TestRefused(t *testing.T) {
	_, err := newGrammar([]named{{is: choice{call(0), text("a")}}}, newBudget())
	require.ErrorIs(t, err, errLeft)
	_, err = newGrammar([]named{{is: sequence{opt(text("a")), call(0), text("b")}}}, newBudget())
	require.Error(t, err)
	_, err = Choice(nil)
	require.ErrorIs(t, err, errNothing)
	_, err = newGrammar([]named{{is: sequence{text("a"), call(0)}}}, newBudget())
	require.ErrorIs(t, err, errNothing)
	_, err = newGrammar([]named{{is: repeat{repeat{repeat{text("abc"), 1, 100}, 1, 100}, 1, 100}}}, newBudget())
	require.ErrorIs(t, err, ErrTooLarge)
}
