package grammar

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// someWays is a schema of n strings that begin alike, each a definition.
func someWays(n int) string {
	defs, refs := make([]string, n), make([]string, n)
	for i := range n {
		defs[i] = fmt.Sprintf(`"d%d":{"type":"string","pattern":"^[ab]*%d$"}`, i, i)
		refs[i] = fmt.Sprintf(`{"$ref":"#/$defs/d%d"}`, i)
	}
	return `{"$defs":{` + strings.Join(defs, ",") + `},"type":"object","properties":{"p":{"anyOf":[` + strings.Join(refs, ",") + `]}},"required":["p"],"additionalProperties":false}`
}

// manyWays begins in few ways, and goes on in more than are followed.
const manyWays = `{"$defs":{"a":{"pattern":"^a","type":"string"},"b":{"pattern":"^b","type":"string"},"c":{"pattern":"^c","type":"string"},
"l":{"type":"array","items":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"},{"$ref":"#/$defs/c"}]}},
"0":{"$ref":"#/$defs/l","minItems":1},"1":{"$ref":"#/$defs/l","minItems":2},"2":{"$ref":"#/$defs/l","minItems":3},"3":{"$ref":"#/$defs/l","minItems":4},
"4":{"$ref":"#/$defs/l","minItems":5},"5":{"$ref":"#/$defs/l","minItems":6},"6":{"$ref":"#/$defs/l","minItems":7},"7":{"$ref":"#/$defs/l","minItems":8}},
"anyOf":[{"$ref":"#/$defs/0"},{"$ref":"#/$defs/1"},{"$ref":"#/$defs/2"},{"$ref":"#/$defs/3"},{"$ref":"#/$defs/4"},{"$ref":"#/$defs/5"},{"$ref":"#/$defs/6"},{"$ref":"#/$defs/7"}]}`

// More ways of reading a text than are followed are an error: where something begins
// so when the grammar is made, else when a text comes to it.
func TestWays(t *testing.T) {
	few, err := Schema([]byte(someWays(maxThreads - 4)))
	require.NoError(t, err)
	for i := range maxThreads - 4 {
		require.True(t, few.Match(fmt.Sprintf(`{"p": "ab%d"}`, i)))
	}
	_, err = Schema([]byte(someWays(300)))
	var at *SchemaError
	require.ErrorAs(t, err, &at)
	require.Equal(t, "#/properties/p", at.Path)
	require.Contains(t, at.Why, errWays.Error())

	many, err := Schema([]byte(manyWays))
	require.NoError(t, err)
	_, err = many.match(`["a"]`)
	require.ErrorIs(t, err, ErrTooLarge)
	m := many.In(someTokens(`["ab`)).NewMatcher(nil)
	require.False(t, m.Accept(0), "it is one way, and then too many")
	require.ErrorIs(t, m.Err(), ErrTooLarge)
}

// What has been closed keeps nothing, whoever still goes on with it.
func TestClosed(t *testing.T) {
	g, err := Schema([]byte(someWays(9)))
	require.NoError(t, err)
	v := someTokens(`{}"p: ab1`)
	c := g.In(v)
	var steps sync.WaitGroup
	for range 4 {
		steps.Go(func() {
			for range 20 {
				m := c.NewMatcher([]int32{int32(v.size) - 1})
				for _, text := range []string{`{"p`, `": `, `"a`, `b1"`, `}`} {
					m.Mask()
					for id, is := range v.texts {
						if string(is) == text {
							m.Accept(int32(id))
						}
					}
				}
			}
		})
	}
	c.Close()
	v.Close()
	steps.Wait()
	require.Zero(t, v.room.Used())
	m := c.NewMatcher([]int32{int32(v.size) - 1})
	_, allowed := m.Mask()
	require.NotZero(t, allowed)
	require.Zero(t, v.room.Used())
}

// Who has no room is given what others can spare.
func TestSpared(t *testing.T) {
	g, err := Schema([]byte(someWays(3)))
	require.NoError(t, err)
	v := someTokens(`{}"p: ab1`)
	idle, used := g.In(v), g.In(v)
	idle.NewMatcher(nil).Mask()
	kept := v.room.Used()
	require.NotZero(t, kept)
	v.room.most = kept
	called := 0
	v.room.OnFull(func() { called++; idle.Drop(); used.Drop() })
	used.NewMatcher(nil).Mask()
	require.NotZero(t, called)
	require.Len(t, used.looks, 1)
	require.Empty(t, idle.looks)
	require.LessOrEqual(t, v.room.Used(), kept)
	used.Close()
	require.Zero(t, v.room.Used())
	deep, err := Schema([]byte(`{"type":"array","items":{"$ref":"#"}}`))
	require.NoError(t, err)
	v.room.most = 1 << 20
	nested := deep.In(v)
	n := nested.NewMatcher(nil)
	before := v.room.Used()
	_ = n.read.stacks.push(1, nil)
	nested.keepFrames()
	require.Greater(t, v.room.Used(), before, "frames are counted")
}

func TestAnchorsOfLines(t *testing.T) {
	for _, pattern := range []string{`(?m)^a`, `(?m)a$`, `(?m)^a$`, `b|(?m)^a`, `(?m)(^a$)`} {
		_, err := Schema([]byte(`{"properties":{"p":{"type":"string","pattern":"` + pattern + `"}}}`))
		var at *SchemaError
		require.ErrorAs(t, err, &at, pattern)
		require.Equal(t, "#/properties/p/pattern", at.Path)
	}
	g, err := Regex(`(?m)^a$`)
	require.NoError(t, err)
	require.True(t, g.Match("a"))
}

// No value that a schema names goes away in silence for want of the one spelling that
// its other keywords have.
func TestSpelling(t *testing.T) {
	for _, schema := range []string{
		`{"enum":[1,[{"b":1,"a":2}]],"items":{"properties":{"a":{},"b":{}}}}`,
		`{"enum":["x",{"b":1,"a":2}],"properties":{"a":{},"b":{}}}`,
		`{"enum":[1,1e60],"type":"number"}`,
		`{"enum":[1,[1e60]],"type":["array","integer"]}`,
	} {
		_, err := Schema([]byte(schema))
		require.ErrorContains(t, err, "form that the keywords beside it give", schema)
	}
	g, err := Schema([]byte(`{"enum":["a",1,[2]],"type":["string","array"]}`))
	require.NoError(t, err)
	require.True(t, g.Match(`"a"`) && g.Match(`[2]`))
	require.False(t, g.Match(`1`))
}

// A property that nothing satisfies has no place.
func TestNothing(t *testing.T) {
	g, err := Schema([]byte(`{"type":"object","properties":{"a":false,"b":true},"additionalProperties":false}`))
	require.NoError(t, err)
	require.True(t, g.Match(`{"b": 1}`))
	require.False(t, g.Match(`{"a": 1}`))
	without, err := Schema([]byte(`{"type":"object","properties":{"b":true},"additionalProperties":false}`))
	require.NoError(t, err)
	require.Len(t, g.states, len(without.states))
}
