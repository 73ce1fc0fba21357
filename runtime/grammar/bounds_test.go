package grammar

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// httpURL is pydantic's HttpUrl.
const httpURL = `{"type":"string","format":"uri","minLength":1,"maxLength":2083}`

// bounded is a string's schema within bounds, in one of the places that one stands in,
// and what makes an instance of one of its own.
func bounded(draw *rand.Rand, schema string, s span) (of string, instance func(text any) any) {
	least, most := fmt.Sprintf(`"minLength":%d`, s.least), fmt.Sprintf(`"maxLength":%d`, s.most)
	both := `{"type":"string",` + schema + `,` + least + `,` + most + `}`
	itself := func(text any) any { return text }
	switch draw.IntN(7) {
	case 0:
		return `{"type":"object","properties":{"n":{"type":"integer"},"s":` + both + `,"t":` + both + `},"required":["s"],"additionalProperties":false}`,
			func(text any) any { return object{{"n", json.Number("1")}, {"s", text}} }
	case 1:
		return `{"type":"array","items":` + both + `,"minItems":1}`, func(text any) any { return []any{text, text} }
	case 2:
		return `{"anyOf":[` + both + `,{"type":"null"},{"type":"string","maxLength":1}]}`, itself
	case 3:
		return `{"$ref":"#/$defs/s","$defs":{"s":` + both + `}}`, itself
	case 4:
		return `{"allOf":[{"type":"string",` + schema + `,"maxLength":1000},{` + least + `},{` + most + `}]}`, itself
	case 5:
		return `{"type":"object","propertyNames":` + both + `,"properties":{"aaa":{"const":1}},"additionalProperties":{"type":"boolean"}}`,
			func(text any) any { return object{{text.(string), true}} }
	}
	return both, itself
}

// Of strings within bounds those are accepted that another implementation finds valid,
// and what the automaton goes through at random is valid: texts of the pattern or the
// format come in any length, others at random.
func TestBounded(t *testing.T) {
	good, bad, walks := 0, 0, 0
	for n, schema := range unbounded {
		draw := rand.New(rand.NewPCG(16, uint64(n)))
		whole, err := Schema([]byte(`{"type":"string",` + schema + `}`))
		require.NoError(t, err)
		made := &instances{Rand: draw}
		for range 24 {
			least := draw.Int32N(40) / (1 + draw.Int32N(4))
			around, instance := bounded(draw, schema, span{least, least + draw.Int32N(20)})
			g, err := Schema([]byte(around))
			if err != nil {
				require.ErrorContains(t, err, errNothing.Error(), around)
				continue
			}
			of := judge(t, around)
			for range 20 {
				written, done := walk(whole, draw)
				if !done {
					continue
				}
				text, err := parseJSON([]byte(written))
				require.NoError(t, err)
				if draw.IntN(4) == 0 && !strings.Contains(schema, "base64") { // which the other does not know as a format
					text = made.text(object{})
				}
				value := canonical(instance(text))
				want := isValid(t, of, value)
				require.Equal(t, want, g.Match(value), "%s\n%s", around, value)
				if want {
					good++
				} else {
					bad++
				}
			}
			for range 5 {
				if text, done := walk(g, draw); done {
					walks++
					require.True(t, isValid(t, of, text), "%s\n%s", around, text)
				}
			}
		}
	}
	require.Greater(t, good, 1500)
	require.Greater(t, bad, 3000)
	require.Greater(t, walks, 1500)
	t.Logf("%d valid instances, %d others, %d random texts", good, bad, walks)
}

// pydantic's HttpUrl is kept to, up to its last character.
func TestHTTPURL(t *testing.T) {
	g, err := Schema([]byte(httpURL))
	require.NoError(t, err)
	require.Less(t, len(g.states), 1000)
	of := judge(t, httpURL)
	for _, url := range []string{"https://example.org/", "http://a.b?q=", "http://a/%20", "http://a#"} {
		for _, end := range []string{"", "%41", "%4", "é", "\n"} {
			for n := 2070; n < 2090; n++ {
				text := url + strings.Repeat("x", n-len(url)) + end
				written := canonical(text)
				want := len(text) <= 2083 && (end == "" || end == "%41")
				require.Equal(t, want, g.Match(written), "%d %s", n, end)
				require.True(t, !want || isValid(t, of, written))
				require.Equal(t, n <= 2083, begins(g, `"`+url+strings.Repeat("x", n-len(url))))
				require.Equal(t, n <= 2080, begins(g, `"`+url+strings.Repeat("x", n-len(url))+"%"), "there is no room for what follows")
			}
		}
	}
	for _, none := range []string{"", "x", "http://", "ftp://a"} {
		require.False(t, g.Match(canonical(none)))
	}
}

// One pattern with many bounds has its states once, and a bound that says nothing of
// its texts has none of its own.
func TestSharedStates(t *testing.T) {
	states := func(schema string) int {
		g, err := Schema([]byte(schema))
		require.NoError(t, err)
		return len(g.states)
	}
	of := func(more string) string { return `{"type":"string","pattern":"^[a-z]+-[0-9]{4}$"` + more + `}` }
	require.Equal(t, states(of("")), states(of(`,"minLength":6`)))
	one := states(`{"prefixItems":[` + of(`,"maxLength":60`) + `],"items":false}`)
	many := states(`{"prefixItems":[` + of(`,"maxLength":60`) + `,` + of(`,"maxLength":70`) + `,` + of(`,"minLength":10,"maxLength":20`) + `],"items":false}`)
	require.Less(t, many, one+20)
	require.Equal(t, states(`{"format":"date-time","type":"string"}`), states(`{"format":"date-time","type":"string","minLength":20,"maxLength":64}`))
}
