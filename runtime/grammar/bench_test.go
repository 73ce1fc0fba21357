package grammar

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What compiling a schema costs, of those that people write.
func BenchmarkSchema(b *testing.B) {
	for n, schema := range schemasOfPeople(b) {
		if n > 30 {
			return
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var g *Grammar
			for b.Loop() {
				var err error
				g, err = Schema([]byte(schema))
				require.NoError(b, err)
			}
			b.ReportMetric(float64(len(g.states)), "states")
			b.ReportMetric(float64(g.Bytes()), "bytes")
		})
	}
}

// What a mask costs that has to be found out, by going through a vocabulary of 49,152
// tokens, far from a string's bounds and near them; and what a token costs of which the
// masks are known.
func BenchmarkMask(b *testing.B) {
	const size = 49152
	draw := rand.New(rand.NewPCG(1, 2))
	v := NewVocabulary(size, func(id int32) []byte {
		if id < 256 {
			return []byte{byte(id)}
		}
		var text []byte // words, with a blank before some, and pieces of JSON
		for range 1 + draw.IntN(7) {
			text = append(text, "etaoinshrdlu{}[]\":, 0123456789"[min(draw.IntN(34), draw.IntN(60), 29)])
		}
		return text
	}, NewRoom(64<<20))
	url := `"http://a/` + strings.Repeat("b", 2060)
	for _, of := range []struct{ name, schema, text string }{
		{"string", `{"type":"string"}`, `"a`},
		{"string within bounds", `{"type":"string","minLength":1,"maxLength":2083}`, `"a`},
		{"string near its bound", `{"type":"string","maxLength":5}`, `"a`},
		{"uri", `{"type":"string","format":"uri"}`, `"http://a/b`},
		{"HttpUrl", httpURL, `"http://a/b`},
		{"HttpUrl near its bound", httpURL, url + "bbbbbbbbb"},
		{"pattern within bounds", `{"type":"string","pattern":"^\\S+$","minLength":9,"maxLength":400}`, `"a`},
	} {
		g, err := Schema([]byte(of.schema))
		require.NoError(b, err, of.name)
		in := g.In(v)
		m := in.NewMatcher(nil)
		for _, c := range []byte(of.text) {
			require.True(b, m.Accept(int32(c)), of.name)
		}
		b.Run(of.name+"/new", func(b *testing.B) {
			for b.Loop() {
				in.Drop()
				v.Drop()
				m.known = false
				m.Mask()
			}
		})
		if strings.Contains(of.name, "near") {
			continue
		}
		b.Run(of.name+"/known", func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%256 == 0 {
					m = in.NewMatcher(nil)
					for _, c := range []byte(of.text) {
						m.Accept(int32(c))
					}
				}
				m.Mask()
				if !m.Accept('b') {
					b.Fatal("a token that may come is refused")
				}
			}
		})
	}
}
