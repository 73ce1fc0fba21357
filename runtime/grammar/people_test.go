package grammar

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// schemasOfPeople are schemas of the kind that people write: those of a file by hand,
// and others put together of what forms, extractions and tools have.
func schemasOfPeople(t testing.TB) (all []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/schemas.jsonl")
	require.NoError(t, err)
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			all = append(all, string(line))
		}
	}
	for seed := uint64(0); len(all) < 200; seed++ {
		all = append(all, (&author{Rand: rand.New(rand.NewPCG(14, seed))}).schema())
	}
	return all
}

// author writes schemas.
type author struct {
	*rand.Rand
	defs []string
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (a *author) schema() string {
	root := a.object(0)
	if len(a.defs) > 0 {
		root = strings.TrimSuffix(root, "}") + `,"$defs":{` + strings.Join(a.defs, ",") + `}}`
	}
	return root
}

func (a *author) object(depth int) string {
	var properties, required []string
	names := a.Perm(len(fieldNames))[:1+a.IntN(6)]
	for _, n := range names {
		name, _ := json.Marshal(fieldNames[n])
		properties = append(properties, fmt.Sprintf("%s:%s", name, a.value(depth+1)))
		if a.IntN(3) > 0 {
			required = append(required, string(name))
		}
	}
	s := `{"type":"object","properties":{` + strings.Join(properties, ",") + `},"required":[` + strings.Join(required, ",") + `]`
	if a.IntN(4) > 0 {
		s += `,"additionalProperties":` + one(a.Rand, "false", "false", "false", "true", `{"type":"string"}`)
	}
	if a.IntN(3) == 0 {
		s += `,"title":"T","description":"what it is"`
	}
	return s + "}"
}

func (a *author) value(depth int) string {
	kind := a.IntN(13)
	if depth > 3 {
		kind = a.IntN(9)
	}
	switch kind {
	case 0, 1:
		return a.text()
	case 2, 3:
		return a.number()
	case 4:
		return one(a.Rand, `{"type":"boolean"}`, `{"type":"boolean","default":false}`, `{"type":["string","null"]}`, `{"type":["integer","null"],"minimum":0}`)
	case 5:
		return one(a.Rand, `{"enum":["low","medium","high"]}`, `{"type":"string","enum":["a b","ü","x\"y","line\nbreak"]}`, `{"enum":[1,2.5,-3,null,true,"x"]}`, `{"const":"v1"}`, `{"const":17}`, `{"enum":["USD","EUR","CHF"],"description":"ISO"}`)
	case 6:
		return `{"anyOf":[` + a.text() + `,{"type":"null"}],"default":null}`
	case 7:
		return `{"type":"array","items":` + a.value(depth+2) + one(a.Rand, "", `,"minItems":1`, `,"maxItems":4`, `,"minItems":2,"maxItems":3`) + "}"
	case 8:
		return one(a.Rand, `{"anyOf":[{"type":"integer"},{"type":"string","maxLength":5}]}`, `{"type":"array","prefixItems":[{"type":"number"},{"type":"number"}],"items":false,"minItems":2}`,
			`{"type":"object","additionalProperties":{"type":"number"}}`, `{"oneOf":[{"type":"string"},{"type":"number"}]}`, `{}`)
	case 9, 10:
		return a.object(depth)
	case 11:
		name := fmt.Sprintf("D%d", len(a.defs))
		a.defs = append(a.defs, "")
		at := len(a.defs) - 1
		a.defs[at] = fmt.Sprintf("%q:%s", name, one(a.Rand,
			func() string { return a.object(depth) },
			func() string {
				return fmt.Sprintf(`{"type":"object","properties":{"value":%s,"children":{"type":"array","items":{"$ref":"#/$defs/%s"}}},"required":["value"],"additionalProperties":false}`, a.number(), name)
			},
		)())
		return fmt.Sprintf(`{"$ref":"#/$defs/%s"}`, name)
	}
	return fmt.Sprintf(`{"oneOf":[{"type":"object","properties":{"kind":{"const":"a"},"of":%s},"required":["kind","of"]},{"type":"object","properties":{"kind":{"const":"b"},"n":%s},"required":["kind"],"additionalProperties":false}]}`,
		a.text(), a.number())
}

func (a *author) text() string {
	return one(a.Rand, `{"type":"string"}`, `{"type":"string","minLength":1}`, `{"type":"string","maxLength":12}`, `{"type":"string","minLength":2,"maxLength":4}`,
		`{"type":"string","pattern":"^[A-Z]{2}-[0-9]{1,4}$"}`, `{"type":"string","pattern":"^\\S+$","maxLength":6}`, `{"type":"string","pattern":"[aeiou]"}`,
		`{"type":"string","format":"date"}`, `{"type":"string","format":"date-time"}`, `{"type":"string","format":"email"}`, `{"type":"string","format":"uuid"}`,
		`{"type":"string","format":"ipv4"}`, `{"type":"string","format":"time"}`, `{"type":"string","format":"uri"}`)
}

func (a *author) number() string {
	return one(a.Rand, `{"type":"integer"}`, `{"type":"number"}`, `{"type":"integer","minimum":0}`, `{"type":"integer","minimum":1,"maximum":5}`, `{"type":"number","minimum":0,"maximum":1}`,
		`{"type":"number","exclusiveMinimum":0}`, `{"type":"integer","minimum":-40,"maximum":1200}`, `{"type":"number","minimum":-2.5,"exclusiveMaximum":10.25}`,
		`{"type":"integer","multipleOf":5}`, `{"type":"number","multipleOf":0.01,"minimum":0}`, `{"type":"integer","exclusiveMaximum":100}`)
}

var fieldNames = []string{"name", "age", "email", "address", "tags", "price", "currency", "items", "createdAt", "first name", "größe", `qu"ote`, "a/b", "id", "status", "score", "note", "geo", "parent", "x"}

// instances makes values of a schema, most of which satisfy it, and others that
// nearly do.
type instances struct {
	*rand.Rand
	root object
}

func (m *instances) of(schema any, depth int) any {
	s, ok := schema.(object)
	if !ok || m.IntN(40) == 0 {
		return m.wrong(depth)
	}
	if v, ok := s.get("$ref"); ok {
		defs, _ := m.root.get("$defs")
		target, _ := defs.(object).get(strings.TrimPrefix(v.(string), "#/$defs/"))
		return m.of(target, depth+1)
	}
	for _, k := range []string{"anyOf", "oneOf", "allOf"} {
		if v, ok := s.get(k); ok {
			return m.of(one(m.Rand, v.([]any)...), depth)
		}
	}
	if v, ok := s.get("enum"); ok {
		return one(m.Rand, v.([]any)...)
	}
	if v, ok := s.get("const"); ok {
		return v
	}
	kind, _ := s.get("type")
	if list, ok := kind.([]any); ok {
		kind = one(m.Rand, list...)
	}
	switch kind {
	case "object":
		return m.object(s, depth)
	case "array":
		return m.array(s, depth)
	case "string":
		return m.text(s)
	case "integer", "number":
		return json.Number(one(m.Rand, "0", "1", "-1", "3", "5", "10", "100", "99", "101", "1200", "1201", "-40", "-41", "0.5", "0.01", "0.015", "-2.5", "-2.51", "10.25", "10.24", "1.0", "1", "12345678901234567890", "0.1", "25"))
	case "boolean":
		return m.IntN(2) == 0
	case "null":
		return nil
	}
	return m.wrong(depth)
}

func (m *instances) wrong(depth int) any {
	switch m.IntN(8) {
	case 0:
		return object{}
	case 1:
		return []any{json.Number("1"), "x"}
	case 2:
		return json.Number("7")
	case 3:
		return nil
	case 4:
		return true
	case 5:
		return object{{"x", "y"}}
	}
	return "text"
}

func (m *instances) object(s object, depth int) any {
	o := object{}
	properties, _ := s.get("properties")
	declared, _ := properties.(object)
	required, _ := s.get("required")
	needed, _ := required.([]any)
	for _, p := range declared {
		isNeeded := false
		for _, n := range needed {
			isNeeded = isNeeded || n == p.name
		}
		switch {
		case isNeeded && m.IntN(25) == 0, !isNeeded && (depth > 4 || m.IntN(2) == 0):
		default:
			o = append(o, member{p.name, m.of(p.value, depth+1)})
		}
	}
	if m.IntN(4) == 0 {
		v := any("more")
		if others, ok := s.get("additionalProperties"); ok {
			if _, isSchema := others.(object); isSchema {
				v = m.of(others, depth+1)
			}
		}
		o = append(o, member{one(m.Rand, "extra", "nam", "names", "größer"), v})
	}
	return o
}

func (m *instances) array(s object, depth int) any {
	a := []any{}
	if first, ok := s.get("prefixItems"); ok {
		for _, p := range first.([]any) {
			a = append(a, m.of(p, depth+1))
		}
	}
	items, _ := s.get("items")
	n := m.IntN(6)
	if depth > 4 {
		n = m.IntN(2)
	}
	for range n {
		if items == false && m.IntN(4) > 0 {
			break
		}
		a = append(a, m.of(items, depth+1))
	}
	return a
}

func (m *instances) text(s object) any {
	format, _ := s.get("format")
	if known, ok := formatTexts[fmt.Sprint(format)]; ok && m.IntN(6) > 0 {
		return one(m.Rand, known...)
	}
	return one(m.Rand, "", "a", "ab", "abc", "abcd", "abcde", "hello world", "twelve chars", "thirteen char", "AB-1", "AB-1234", "AB-12345", "x AB-1", "ü", "üöäß", "\U0001f600", "tab\there", "q\"uote", "back\\slash", "\x00\x1f", "xyz", "no_blank", "/", "\u2028")
}

// formatTexts are of each format some that are, and others that are not.
var formatTexts = map[string][]string{
	"date":      {"2024-02-29", "2023-02-29", "1999-12-31", "2024-13-01", "2024-1-1"},
	"date-time": {"2024-02-29T12:00:00Z", "2024-02-29T12:00:00.123+02:00", "2024-02-29 12:00:00Z", "2024-02-29T25:00:00Z", "2023-02-29T12:00:00Z"},
	"time":      {"12:00:00Z", "23:59:59.9-11:30", "24:00:00Z", "12:00"},
	"email":     {"a@b.org", "first.last+tag@sub.example.com", "a b@c.org", "a@"},
	"uuid":      {"01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-CDEF-0123-456789ABCDEF", "01234567-89ab-cdef-0123-456789abcde", "nope"},
	"ipv4":      {"127.0.0.1", "255.255.255.255", "256.1.1.1", "1.2.3", "01.2.3.4"},
	"uri":       {"https://example.org/a?b=c#d", "http://localhost:8080", "not a uri", "/relative"},
}

// judge is a compiled schema of another implementation, which asserts formats.
func judge(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	of, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("schema.json", of))
	compiled, err := c.Compile("schema.json")
	require.NoError(t, err, schema)
	return compiled
}

func isValid(t testing.TB, s *jsonschema.Schema, text string) bool {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bufio.NewReader(strings.NewReader(text)))
	require.NoError(t, err, text)
	return s.Validate(v) == nil
}

// Of 200 schemas of the kind that people write the valid instances in canonical form
// are accepted and the others refused, as another implementation judges them; and
// what the automaton goes through at random is valid.
func TestPeoplesSchemas(t *testing.T) {
	good, bad, walks := 0, 0, 0
	for n, schema := range schemasOfPeople(t) {
		g, err := Schema([]byte(schema))
		require.NoError(t, err, schema)
		of := judge(t, schema)
		parsed, err := parseJSON([]byte(schema))
		require.NoError(t, err)
		draw := rand.New(rand.NewPCG(15, uint64(n)))
		made := &instances{Rand: draw, root: parsed.(object)}
		for range 120 {
			instance := canonical(made.of(parsed, 0))
			want := isValid(t, of, instance)
			if want {
				good++
			} else {
				bad++
			}
			if g.Match(instance) != want {
				t.Errorf("%s\n%s is valid: %v", schema, instance, want)
				break
			}
		}
		for range 20 {
			if text, whole := walk(g, draw); whole {
				walks++
				require.True(t, isValid(t, of, text), "%s\n%s", schema, text)
			}
		}
	}
	require.Greater(t, good, 5000)
	require.Greater(t, bad, 3000)
	require.Greater(t, walks, 1000)
	t.Logf("%d valid instances, %d others, %d random texts", good, bad, walks)
}

// walk is a text that the automaton accepts byte by byte, at random; whole tells
// whether it came to an end.
func walk(g *Grammar, draw *rand.Rand) (answer string, whole bool) {
	r := newReader(g)
	r.begin(g.first(), nil)
	var b []byte
	for len(b) < 600 {
		if r.ended && (len(r.threads) == 0 || draw.IntN(3) == 0) {
			return string(b), true
		}
		var next []byte
		for c := range 256 {
			for _, t := range r.threads {
				if _, ok := g.after(t, byte(c)); ok {
					next = append(next, byte(c))
					break
				}
			}
		}
		c := one(draw, next...)
		for _, ends := range []byte(`"]}`) { // lest it goes on for ever
			if bytes.IndexByte(next, ends) >= 0 && draw.IntN(3) == 0 {
				c = ends
			}
		}
		if len(b) > 300 && bytes.IndexByte(next, 'n') >= 0 {
			c = 'n' // null
		}
		if !r.step(c) {
			panic("a byte that may come leads nowhere")
		}
		b = append(b, c)
	}
	return "", false
}
