package grammar

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hostileSchemas are large to compile, or without end.
func hostileSchemas() map[string]string {
	deep := strings.Repeat(`{"items":`, 5000) + "true" + strings.Repeat("}", 5000)
	wide := func(n int, f string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = fmt.Sprintf(f, i)
		}
		return strings.Join(parts, ",")
	}
	fan := wide(40, `"d%[1]d":{"anyOf":[{"$ref":"#/$defs/d%[1]d","minimum":1},{"$ref":"#/$defs/d%[1]d","minimum":2}]}`)
	chain := make([]string, 60)
	for i := range chain {
		chain[i] = fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}],"title":"x"}`, i, i+1, i+1)
	}
	unions := make([]string, 40)
	for i := range unions {
		unions[i] = fmt.Sprintf(`"d%d":{"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1)
	}
	grows := `{"$defs":{"a":{"properties":{"x":{"$ref":"#/$defs/a","required":["y"]}},"required":["z"]}},"$ref":"#/$defs/a","maxProperties0":1}`
	return map[string]string{
		"deep":                    deep,
		"itself":                  `{"$ref":"#"}`,
		"itself beside":           `{"$defs":{"a":{"$ref":"#/$defs/a","type":"object"}},"$ref":"#/$defs/a"}`,
		"all of itself":           `{"allOf":[{"$ref":"#"}]}`,
		"any of itself":           `{"anyOf":[{"$ref":"#"},{"type":"null"}]}`,
		"itself in a property":    `{"properties":{"a":{"$ref":"#","required":["b"]}}}`,
		"grows":                   grows,
		"without end":             `{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`,
		"many properties":         `{"properties":{` + wide(6000, `"p%d":{}`) + `}}`,
		"many optional strings":   `{"properties":{` + wide(900, `"p%d":{"type":"string","pattern":"^[a-z]*x[a-z]*$"}`) + `},"additionalProperties":false}`,
		"many required":           `{"required":[` + wide(20000, `"r%d"`) + `]}`,
		"wide enum":               `{"enum":[` + wide(20000, `"value %d"`) + `]}`,
		"wide oneOf":              `{"oneOf":[` + wide(3000, `{"const":%d}`) + `]}`,
		"wide anyOf":              `{"anyOf":[` + wide(3000, `{"type":"object","properties":{"k":{"const":%d},"v":{"type":"string","pattern":"a"}}}`) + `]}`,
		"fan":                     `{"$defs":{` + fan + `},"$ref":"#/$defs/d0"}`,
		"chain":                   `{"$defs":{` + strings.Join(chain, ",") + `,"d60":{"type":"string"}},"$ref":"#/$defs/d0"}`,
		"many items":              `{"minItems":1000000}`,
		"items of items":          `{"minItems":9000,"items":{"minItems":9000,"items":{"minItems":9000}}}`,
		"long prefix":             `{"prefixItems":[` + wide(5000, `{"minimum":%d}`) + `]}`,
		"pattern":                 `{"pattern":"(a|b)*a(a|b){16}"}`,
		"pattern and length":      `{"pattern":"(a|b)*a(a|b){12}","minLength":900,"maxLength":100000}`,
		"bounded patterns":        `{"properties":{` + wide(900, `"p%d":{"type":"string","pattern":"^[a-z]*%[1]d[a-z]*$","minLength":20,"maxLength":300}`) + `},"additionalProperties":false}`,
		"bounded patterns of one": `{"anyOf":[` + wide(200, `{"type":"string","pattern":"^.*%d.{9}$","minLength":20,"maxLength":300}`) + `]}`,
		"bounded classes":         `{"prefixItems":[` + wide(200, `{"type":"string","pattern":"^(\pL|\pN%d)+$","minLength":3,"maxLength":300}`) + `]}`,
		"bounds of one pattern":   `{"prefixItems":[` + wide(300, `{"type":"string","pattern":"(a|b)*a(a|b){8}","maxLength":9%d}`) + `]}`,
		"bounds of one format":    `{"prefixItems":[` + wide(300, `{"type":"string","format":"uri","maxLength":9%d}`) + `]}`,
		"bounds between lengths":  `{"pattern":"^(a{400}|b{1000})*$","minLength":100100,"maxLength":100199}`,
		"bounds far ahead":        `{"pattern":"^(a{900}|b*)$","minLength":800000,"maxLength":900000}`,
		"bounds of long patterns": `{"prefixItems":[` + wide(9, `{"type":"string","pattern":"^[a-z]{%d00,999}$","minLength":1,"maxLength":998}`) + `]}`,
		"bounded names":           `{"properties":{` + wide(3000, `"p%d":true`) + `},"propertyNames":{"pattern":"^p?[0-9]*$","minLength":2,"maxLength":900}}`,
		"patterns and format":     `{"pattern":"[0-9]{1,900}","format":"uri","maxLength":900}`,
		"unicode classes":         `{"pattern":"(\\pL|\\pN){200}[^\\pL]{200}"}`,
		"multiple":                `{"multipleOf":0.0000009999,"minimum":0.00000001,"maximum":99999999999}`,
		"multiple integers":       `{"type":"integer","multipleOf":9973,"minimum":-99999999999999999999,"maximum":99999999999999999999}`,
		"wide number":             `{"minimum":` + strings.Repeat("9", 41) + `}`,
		"exponent":                `{"maximum":1e999999999}`,
		"exponent in enum":        `{"enum":[1e999999999]}`,
		"forbidden names":         `{"properties":{` + wide(3000, `"p%d":false`) + `},"additionalProperties":{"type":"string"}}`,
		"names that begin alike":  `{"properties":{` + wide(500, `"`+strings.Repeat("p", 200)+`%d":{}`) + `}}`,
		"twice":                   `{"type":"string","type":"string"}`,
		"huge":                    `{"title":"` + strings.Repeat("x", maxSchema) + `"}`,
		"long reference":          `{"$ref":"#/` + strings.Repeat("a/", 50000) + `"}`,
		"allOf of many":           `{"allOf":[` + wide(3000, `{"properties":{"p%d":{"type":"string"}}}`) + `]}`,
		"allOf of the same":       `{"allOf":[` + wide(3000, `{"properties":{"p":{"title":"%d","minLength":1}}}`) + `]}`,
		"enum of objects":         `{"enum":[` + wide(3000, `{"a":%d}`) + `],"required":["a"]}`,
		"enum beside enum":        `{"allOf":[{"enum":[` + wide(3000, `%d`) + `]},{"enum":[` + wide(3001, `%d`) + `]}]}`,
		"apart":                   `{"oneOf":[` + wide(300, `{"required":["a"],"properties":{"a":{"required":["b"],"properties":{"b":{"enum":["%d"]}}}}}`) + `]}`,
		"unions of unions":        `{"$defs":{` + strings.Join(unions, ",") + `,"d40":{"properties":{"k":{"const":1}}}},"anyOf":[{"$ref":"#/$defs/d0"}],"discriminator":{"propertyName":"k"}}`,
		"nested strings":          `{"anyOf":[` + wide(200, `{"type":"string","pattern":"^.*%d.*$"}`) + `]}`,
		"strings that overlap":    `{"anyOf":[` + wide(14, `{"type":"string","pattern":"x.{%d}y"}`) + `]}`,
		"objects that are alike":  `{"anyOf":[` + wide(200, `{"type":"object","properties":{"a":{"type":"array","items":{"anyOf":[{"const":%d},{"type":"string"}]}}}}`) + `]}`,
		"numbers in many ways":    `{"anyOf":[` + wide(300, `{"type":"number","minimum":%d.5,"multipleOf":0.25}`) + `]}`,
		"any in any":              `{"anyOf":[{},{},{},{"items":{}},{"items":{"items":{}}},{"additionalProperties":{}}]}`,
		"arrays in arrays anyhow": `{"$defs":{"a":{"anyOf":[` + wide(20, `{"type":"array","items":{"$ref":"#/$defs/a"},"minItems":%d}`) + `]}},"$ref":"#/$defs/a"}`,
	}
}

// Every one ends, by counts and not by the clock: in a grammar of no more states than
// there may be, or in an error with a path.
func TestHostileSchemas(t *testing.T) {
	for name, schema := range hostileSchemas() {
		g, err := Schema([]byte(schema))
		if err != nil {
			var at *SchemaError
			require.ErrorAs(t, err, &at, name)
			require.True(t, strings.HasPrefix(at.Path, "#"), "%s: %s", name, err)
			require.Less(t, len(err.Error()), 1000, name)
			continue
		}
		require.LessOrEqual(t, len(g.states), newBudget().states, name)
		follow(g)
	}
}

// follow reads what may come, in a vocabulary and byte by byte.
func follow(g *Grammar) {
	m := g.In(someTokens(`{}[]",: ab0-.p`)).NewMatcher([]int32{0})
	for step := range 12 {
		words, n := m.Mask()
		if n == 0 {
			break
		}
		left := step * 7 % n
		for id := range int32(m.Tokens()) {
			if words[id/64]>>(id%64)&1 == 0 {
				continue
			}
			if left--; left < 0 {
				if !m.Accept(id) {
					panic("a token that may come is refused")
				}
				break
			}
		}
	}
	for _, text := range []string{"[[[[", `{"`, `"aaaaaaaaaaaaaaaaaaaaaaa`, "-1"} {
		g.Match(text)
	}
}

func TestHostileRegexes(t *testing.T) {
	for _, pattern := range []string{
		`(a|b)*a(a|b){16}`, `(a?){900}a{900}`, `((a?){30}b?){30}`, `(x+x+)+y`, `(.*a.*){40}`, `(.*[^a].*b){60}`, `\pL{900}`, `(a{1,900}b{1,900}){1,900}`,
		strings.Repeat("(", 900) + strings.Repeat(")", 900), strings.Repeat("(a|", 900) + "b" + strings.Repeat(")", 900), strings.Repeat("a*", 5000), strings.Repeat("[a-z]?", 2000), strings.Repeat("(ab?)*", 500),
	} {
		g, err := Regex(pattern)
		if err == nil {
			require.LessOrEqual(t, len(g.states), newBudget().states)
			follow(g)
		}
	}
}

func FuzzSchema(f *testing.F) {
	for _, schema := range hostileSchemas() {
		if len(schema) < 2000 {
			f.Add(schema)
		}
	}
	for _, schema := range schemasOfPeople(f)[:60] {
		f.Add(schema)
	}
	f.Fuzz(func(t *testing.T, schema string) {
		if g, err := Schema([]byte(schema)); err == nil {
			follow(g)
		}
	})
}

func FuzzRegex(f *testing.F) {
	for _, pattern := range []string{`a|b*`, `^(ab|c){2,9}$`, `[^\n]\d\pL`, `(?i)x(?s).`, `(a?){9}`, ``} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		if g, err := Regex(pattern); err == nil {
			follow(g)
		}
	})
}
