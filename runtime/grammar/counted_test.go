package grammar

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// unbounded are schemas of strings, without braces and bounds.
var unbounded = []string{
	`"format":"uri"`, `"format":"hostname"`, `"format":"email"`, `"format":"date"`, `"format":"date-time"`, `"format":"uuid"`, `"format":"ipv6"`, `"format":"base64"`, `"format":"duration"`, `"format":"path"`,
	`"pattern":"^a*$"`, `"pattern":"^(aaa)*$"`, `"pattern":"^(aaa|aaaaa)*$"`, `"pattern":"^(a{4}|b{7}|)$"`, `"pattern":"^a*-b{3}$"`, `"pattern":"^(https?://.+)?$"`, `"pattern":"x"`, `"pattern":"^$"`,
	`"pattern":"^[\\n\\t\"é\\x{1F600}\\x{1}a]*$"`, `"pattern":"^(n|\\n)n$"`, `"pattern":"^(an|\\n)*$"`, `"pattern":"^(é|è{2}|\\x01\\x02\\x03)*$"`, `"pattern":"^[^a]{2,5}$"`, `"pattern":"^(ab){2,3}c?$"`,
	`"pattern":"^[A-Z]{2}-[0-9]{1,4}$"`, `"pattern":"^\\S+$"`, `"pattern":"(a|b)*a(a|b){3}"`, `"pattern":"^.{3}x*$"`, `"pattern":"^(a|aé{9})$"`, `"pattern":"a","format":"hostname"`,
}

// ofLengths are the grammars of the strings of a schema that have so many characters:
// as the compiler makes it, and of an automaton that tells the lengths by its states.
func ofLengths(t testing.TB, schema string, s span) (made, states *Grammar, err, errStates error) {
	t.Helper()
	parsed, err := parseJSON([]byte(schema))
	require.NoError(t, err)
	of, err := textOf(parsed.(object), "#")
	require.NoError(t, err)
	of.span = s
	c := newCompiler(parsed, newBudget())
	e, err := c.text(of, "#")
	require.NoError(t, err)
	made, err = c.grammar(e, "#")
	states, errStates = newGrammar([]named{{is: product{a: of.whole.is, b: inQuotes(repeat{anyCharacter, int(s.least), int(s.most)})}}}, newBudget())
	return made, states, err, errStates
}

// Strings of which the characters are counted go on with the same bytes as those of an
// automaton that tells the lengths by its states, from each of which there is a way to
// an end: all pairs of places that the two come to are gone through.
func TestCounted(t *testing.T) {
	kept, counts := 0, 0
	for _, schema := range unbounded {
		for _, least := range []int32{0, 1, 2, 3, 5, 8, 11, 14} {
			for _, most := range []int32{-1, 0, 1, 2, 3, 4, 6, 8, 9, 15, 26} {
				s := span{least, most}
				if most >= 0 && most < least {
					continue
				}
				made, states, err, errStates := ofLengths(t, "{"+schema+"}", s)
				require.Equal(t, errStates == nil, err == nil, "%s %d", schema, s)
				if err != nil {
					require.ErrorContains(t, err, errNothing.Error())
					continue
				}
				kept++
				if slices.ContainsFunc(made.rules, func(e entry) bool { return e.span != anySpan }) {
					counts++
				}
				requireAlike(t, made, states, fmt.Sprint(schema, s))
			}
		}
	}
	require.Greater(t, counts, 700)
	require.Greater(t, kept-counts, 200, "nothing is to be counted, or it takes states")
	t.Logf("%d grammars, %d of them count", kept, counts)
}

// requireAlike goes through two grammars side by side.
func requireAlike(t *testing.T, a, b *Grammar, of string) {
	t.Helper()
	first := func(g *Grammar) thread { // in the rule that is called, if one is
		r := newReader(g)
		r.begin(g.first(), nil)
		return r.threads[len(r.threads)-1]
	}
	type pair struct{ a, b thread }
	known := map[pair]bool{}
	for waiting := []pair{{first(a), first(b)}}; len(waiting) > 0; {
		now := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		bounds := []int{0} // between two of them all bytes lead to the same
		for _, edges := range [][]edge{a.states[now.a.at].bytes, b.states[now.b.at].bytes} {
			for _, e := range edges {
				bounds = append(bounds, int(e.lo), int(e.hi)+1)
			}
		}
		for _, c := range bounds {
			if c > 255 {
				continue
			}
			x, okX := a.after(now.a, byte(c))
			y, okY := b.after(now.b, byte(c))
			if okX != okY || okX && a.states[x.at].final != b.states[y.at].final {
				t.Fatalf("%s: byte %#x", of, c)
			}
			if next := (pair{x, y}); okX && !known[next] {
				known[next] = true
				waiting = append(waiting, next)
			}
		}
	}
}

func FuzzCounted(f *testing.F) {
	for _, pattern := range []string{`^(aaa|aaaaa)*$`, `a|b*`, `^(é|\n)*$`, `^(a{4}|b{7}|)$`, `[^\n]\d\pL`, `(?i)x(?s).`, `^(\x01|b{3})+$`} {
		f.Add(pattern, uint8(3), uint8(2))
	}
	f.Fuzz(func(t *testing.T, pattern string, least, more uint8) {
		text, err := json.Marshal(pattern)
		require.NoError(t, err)
		schema := `{"pattern":` + string(text) + `}`
		if _, err := Schema([]byte(schema)); err != nil || len(pattern) > 100 {
			return
		}
		made, states, err, errStates := ofLengths(t, schema, span{int32(least % 16), int32(least%16 + more%16)})
		if errStates == nil {
			require.NoError(t, err)
			requireAlike(t, made, states, pattern)
		}
	})
}

// written are texts of so many parts, each one of some.
type written [][]string

// starts reports whether the text is the beginning of one of them, or one of them.
func (w written) starts(text string, whole bool) bool {
	if len(w) == 0 {
		return text == ""
	}
	at, _ := slices.BinarySearch(w[0], text)
	if !whole && at < len(w[0]) && strings.HasPrefix(w[0][at], text) {
		return true
	}
	for n := 0; n <= len(text); n++ {
		if _, is := slices.BinarySearch(w[0], text[:n]); is && w[1:].starts(text[n:], whole) {
			return true
		}
	}
	return false
}

// Near a bound and far from it a mask has the tokens with which some valid text goes
// on: all valid texts of some letters are written down, escapes and characters of
// several bytes among them, by themselves and as parts of others.
func TestMaskOfCounted(t *testing.T) {
	pieces := []string{`ab`, `aa`, `aaa`, `baa`, `\n`, `\na`, `n\`, `\u0`, `001`, `\u0001`, "é", "\xa9a", "aé\xc3", "😀", "\xf0\x9f", "\x98\x80", "\x80b",
		`a"`, `b"`, `n"`, `aa"`, `é"`, `""`, `"a`, `aé`, `{"p": `, `"}`, `a"}`, `, "q": `, `a", "q": "`, `["`, `", "`, `a", "a`, `"]`, `[]`, `ab"]`, `null`}
	for _, one := range []byte(`{}[]":, \nul01abpqé😀`) {
		pieces = append(pieces, string([]byte{one}))
	}
	v := tokens(pieces...)
	masks := 0
	for pattern, letters := range map[string]string{
		`^[ab\né\x{1F600}\x01]*$`: "ab\né😀\x01", `^[ab]*$`: "ab", `^a*b{3}$`: "ab", `^(a|é)*(\n|b{3})$`: "aé\nb", `^(aab)*b?$`: "ab",
		`^(ab|\x01é\n)*a{0,2}$`: "ab\x01é\n", `^[abé\n]{2,4}$`: "abé\n", `^(a{5}|b*)$`: "ab", `^(aa)*$`: "a",
	} {
		is := regexp.MustCompile(pattern)
		for _, s := range []span{{0, 3}, {2, 4}, {3, 3}, {4, 5}, {1, 1}, {6, 11}, {9, 11}, {10, 11}, {30, 40}} {
			if math.Pow(float64(len([]rune(letters))), float64(s.most)) > 20_000 {
				continue
			}
			texts := []string{}
			var write func(text string, n int32)
			write = func(text string, n int32) {
				if n >= s.least && is.MatchString(text) {
					texts = append(texts, quote(text))
				}
				for _, c := range letters {
					if n < s.most {
						write(text+string(c), n+1)
					}
				}
			}
			write("", 0)
			if slices.Sort(texts); len(texts) == 0 {
				continue
			}
			escaped, err := json.Marshal(pattern)
			require.NoError(t, err)
			bounded := fmt.Sprintf(`{"type":"string","pattern":%s,"minLength":%d,"maxLength":%d}`, escaped, s.least, s.most)
			for schema, valid := range map[string][]written{
				bounded: {{texts}},
				`{"$ref":"#/$defs/s","$defs":{"s":` + bounded + `}}`:                                                                    {{texts}},
				`{"anyOf":[` + bounded + `,{"const":"aab"},{"type":"null"}]}`:                                                           {{texts}, {{`"aab"`, `null`}}},
				`{"type":"array","maxItems":2,"items":` + bounded + `}`:                                                                 {{{"[]"}}, {{"["}, texts, {"]"}}, {{"["}, texts, {", "}, texts, {"]"}}},
				`{"type":"object","properties":{"p":` + bounded + `,"q":{"const":"ab"}},"required":["p"],"additionalProperties":false}`: {{{`{"p": `}, texts, {`, "q": "ab"}`, `}`}}},
			} {
				g, err := Schema([]byte(schema))
				require.NoError(t, err, schema)
				masks += requireMasks(t, g, v, schema, func(text string, whole bool) bool {
					return slices.ContainsFunc(valid, func(w written) bool { return w.starts(text, whole) })
				})
			}
		}
	}
	require.Greater(t, masks, 10_000)
	t.Logf("%d masks", masks)
}

// The same holds where the tokens are short beside the lengths, so that masks are those
// of places far from a bound: byte by byte a token goes on as in an automaton that tells
// the lengths by its states.
func TestMaskFarFromBounds(t *testing.T) {
	v := someTokens(`ab-"`)
	masks := 0
	for _, pattern := range []string{`^a*-b{3}$`, `^a*-b{1,12}$`, `^.{3}a*$`, `^(aaa|aaaaa)*$`, `^(a|-b{9})*$`, `a`, `^(a{30}|b*)-?$`, `^(ab?){9,20}-*$`, `^a{0,9}(-b{15})?$`} {
		for _, s := range []span{{20, 60}, {0, 40}, {30, -1}, {18, 19}, {25, 25}} {
			made, states, err, errStates := ofLengths(t, `{"pattern":"`+pattern+`"}`, s)
			require.Equal(t, errStates == nil, err == nil)
			if err == nil {
				masks += requireMasks(t, made, v, pattern, func(text string, whole bool) bool {
					return whole && states.Match(text) || !whole && begins(states, text)
				})
			}
		}
	}
	require.Greater(t, masks, 5000)
	t.Logf("%d masks", masks)
}

// requireMasks walks through a grammar and looks at each mask.
func requireMasks(t *testing.T, g *Grammar, v *Vocabulary, of string, starts func(text string, whole bool) bool) (masks int) {
	t.Helper()
	end := int32(v.size) - 1
	in := g.In(v)
	for seed := range uint64(12) {
		draw := rand.New(rand.NewPCG(5, seed))
		m := in.NewMatcher([]int32{end})
		for answer := ""; len(answer) < 80; masks++ {
			words, n := m.Mask()
			var allowed []int32
			for id := range int32(v.size) {
				want := id == end && starts(answer, true) || id != end && starts(answer+string(v.texts[id]), false)
				is := words[id/64]>>(id%64)&1 == 1
				if is != want {
					t.Fatalf("%s: %q after %q may come: %v", of, v.texts[id], answer, want)
				}
				if is {
					allowed = append(allowed, id)
				}
			}
			require.Len(t, allowed, n)
			require.NotEmpty(t, allowed, "%s: %q is a dead end", of, answer)
			id := one(draw, allowed...)
			require.True(t, m.Accept(id))
			if id == end {
				break
			}
			answer += string(v.texts[id])
		}
	}
	return masks
}
