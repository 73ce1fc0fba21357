package grammar

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What pydantic, zod and OpenAPI write beside JSON Schema's own is kept to: the first
// texts are those of instances, the others are not.
func TestWhatClientsWrite(t *testing.T) {
	cat := `{"type":"object","properties":{"kind":{"type":"string","const":"cat","default":"cat"},"lives":{"type":"integer"}},"required":["lives"],"additionalProperties":false}`
	dog := `{"type":"object","properties":{"kind":{"enum":["dog","wolf"]},"pet":{"anyOf":[{"$ref":"#/$defs/Pet"},{"type":"null"}]}},"additionalProperties":false}`
	pet := `{"$defs":{"Cat":` + cat + `,"Dog":` + dog + `,"Pet":{"discriminator":{"mapping":{"cat":"#/$defs/Cat","dog":"#/$defs/Dog"},"propertyName":"kind"},"oneOf":[{"$ref":"#/$defs/Cat"},{"$ref":"#/$defs/Dog"}]}},"$ref":"#/$defs/Pet"}`
	uuids := func(format string) string { return `{"type":"string","format":"` + format + `"}` }
	for _, c := range []struct {
		schema string
		is     []string
		not    []string
	}{
		{
			pet,
			[]string{`{"kind": "cat", "lives": 9}`, `{"kind": "dog"}`, `{"kind": "wolf", "pet": {"kind": "cat", "lives": 1}}`},
			[]string{`{"lives": 9}`, `{}`, `{"kind": "dog", "lives": 9}`, `{"kind": "dog", "pet": {}}`},
		},
		{
			`{"type":"array","items":[{"type":"integer"},{"type":"boolean"}],"additionalItems":false,"minItems":2}`,
			[]string{`[1, true]`}, []string{`[1]`, `[true, 1]`, `[1, true, 1]`},
		},
		{`{"type":"array","items":[{"type":"integer"}],"additionalItems":{"type":"null"}}`, []string{`[]`, `[1, null]`}, []string{`[1, 1]`}},
		{`{"type":"array","items":{"type":"integer"},"additionalItems":false}`, []string{`[1, 2]`}, []string{`[true]`}},
		{`{"type":"array","additionalItems":{"type":"null"}}`, []string{`[1]`}, []string{`1`}},
		{uuids("uuid4"), []string{`"A1234567-8901-4234-b678-123456789012"`}, []string{`"A1234567-8901-1234-b678-123456789012"`, `"A1234567-8901-4234-0678-123456789012"`}},
		{uuids("ipvanyaddress"), []string{`"1.2.3.4"`, `"::1"`}, []string{`"1.2.3"`, `"a"`}},
		{uuids("byte"), []string{`""`, `"YQ=="`, `"YWI="`, `"YWJj"`}, []string{`"YQ="`, `"YR=="`, `"a b="`}},
		{`{"type":"integer","example":3}`, []string{`4`}, []string{`"a"`}},
		{uuids("password"), []string{`"any é"`, `""`}, []string{`1`}},
		{`{"type":"string","format":"path","maxLength":2}`, []string{`"/a"`}, []string{`"/ab"`}},
		{`{"type":"integer","format":"int32"}`, []string{`-2147483648`, `2147483647`}, []string{`-2147483649`, `2147483648`, `1.5`}},
		{`{"type":"integer","format":"uint8","minimum":0}`, []string{`0`, `255`}, []string{`-1`, `256`}},
		{`{"type":"number","format":"double"}`, []string{`1.5`}, []string{`"a"`}},
		{
			`{"type":"object","propertyNames":{"type":"string"},"additionalProperties":{"type":"integer"}}`,
			[]string{`{}`, `{"a": 1, "é": 2}`}, []string{`{"a": "b"}`},
		},
		{
			`{"type":"object","propertyNames":{"$ref":"#/$defs/c"},"additionalProperties":{"type":"integer"},"required":["g"],"$defs":{"c":{"type":"string","enum":["r","g"]}}}`,
			[]string{`{"g": 1}`, `{"g": 1, "r": 2}`}, []string{`{}`, `{"r": 1}`, `{"g": 1, "b": 2}`, `{"g": 1, "g": 2}`},
		},
		{
			`{"type":"object","propertyNames":{"enum":["a","a"]},"additionalProperties":{"type":"integer"}}`,
			[]string{`{}`, `{"a": 1}`}, []string{`{"a": 1, "a": 2}`},
		},
		{
			`{"type":"object","properties":{"id":{"type":"integer"},"Id":{"type":"integer"}},"propertyNames":{"pattern":"^[a-z]+$"},"additionalProperties":{"type":"boolean"}}`,
			[]string{`{"id": 1, "a": true}`, `{"a": true}`}, []string{`{"Id": 1}`, `{"id": true}`, `{"a1": true}`},
		},
		{
			`{"type":"object","properties":{"id":{"type":"integer"}},"propertyNames":{"maxLength":2},"additionalProperties":{"type":"boolean"}}`,
			[]string{`{"id": 1, "ab": true}`}, []string{`{"abc": true}`, `{"id": true}`},
		},
		{
			`{"type":"object","propertyNames":{"format":"uuid"},"additionalProperties":{"type":"boolean"}}`,
			[]string{`{"A1234567-8901-1234-b678-123456789012": true}`}, []string{`{"a": true}`},
		},
		{
			`{"type":"object","patternProperties":{"^[a-z]+$":{"type":"integer"}},"required":["g"]}`,
			[]string{`{"g": 1}`, `{"g": 1, "ab": 2}`}, []string{`{}`, `{"g": "a"}`, `{"g": 1, "A": 2}`},
		},
		{
			`{"type":"object","patternProperties":{"a":{"$ref":"#"}},"additionalProperties":false}`,
			[]string{`{}`, `{"bab": {"a": {}}}`}, []string{`{"b": {}}`, `{"a": 1}`},
		},
		{
			`{"type":"object","properties":{"site":{"anyOf":[` + httpURL + `,{"type":"null"}],"default":null},"sku":{"type":"string","pattern":"^[a-z]+$","minLength":2,"maxLength":80}},"required":["sku"],"additionalProperties":false}`,
			[]string{`{"site": "https://example.org/a?b=%20", "sku": "ab"}`, `{"site": null, "sku": "ab"}`, `{"sku": "` + strings.Repeat("a", 80) + `"}`},
			[]string{`{"site": "", "sku": "ab"}`, `{"site": "x", "sku": "ab"}`, `{"sku": "a"}`, `{"sku": "` + strings.Repeat("a", 81) + `"}`, `{"site": "http://a/` + strings.Repeat("b", 2075) + `", "sku": "ab"}`},
		},
		{uuids("base64"), []string{`"YQ=="`}, []string{`"YQ="`}},
		{`{"type":"string","contentEncoding":"base64","contentMediaType":"image/png","maxLength":4}`, []string{`"YQ=="`}, []string{`"é"`, `"YWJjYWJj"`}},
		{`{"type":"string","contentMediaType":"application/json","contentSchema":{"type":"integer"}}`, []string{`"1"`, `"any"`}, []string{`1`}},
		{`{"type":"string","contentEncoding":"quoted-printable"}`, []string{`"any é"`}, []string{`1`}},
	} {
		g, err := Schema([]byte(c.schema))
		require.NoError(t, err, c.schema)
		for _, text := range c.is {
			require.True(t, g.Match(text), "%s of %s", text, c.schema)
		}
		for _, text := range c.not {
			require.False(t, g.Match(text), "%s of %s", text, c.schema)
		}
	}
	for schema, want := range map[string]string{
		`{"type":"object","discriminator":{"propertyName":"kind"}}`:                                "#/discriminator has no oneOf or anyOf beside it: leave it out",
		`{"anyOf":[{"type":"object","properties":{"a":{}}}],"discriminator":{"propertyName":"a"}}`: `#/anyOf/0 gives "a", the discriminator's property, no const and no enum: give it one`,
		`{"anyOf":[{"type":"object"}],"discriminator":"a"}`:                                        "#/anyOf has a discriminator beside it without the text propertyName: give the name of a property",
		`{"type":"object","propertyNames":{"enum":["a"]},"required":["b"]}`:                        `#/required names "b", which propertyNames does not allow`,
		`{"type":"object","propertyNames":{"anyOf":[{"const":"a"}]}}`:                              "#/propertyNames/anyOf is not supported of names: give a pattern, or an enum",
		`{"type":"object","propertyNames":{"type":"integer"}}`:                                     "#/propertyNames/type has no type in common with the schema beside it",
		`{"allOf":[{"items":[true]},{"items":[true],"additionalItems":false}]}`:                    "#/allOf/1/additionalItems stands beside items of another schema: put both into one",
		`{"patternProperties":{"a":true,"b":true}}`:                                                "#/patternProperties is supported as an object with one pattern",
		`{"patternProperties":{"a":true},"properties":{"b":true}}`:                                 "#/patternProperties has properties beside it, which is not supported: leave one of both out",
		`{"patternProperties":{"a":true},"additionalProperties":{"type":"integer"}}`:               "#/patternProperties has additionalProperties beside it, which may only be false: there are no members but those of the pattern",
		`{"patternProperties":{"a":true},"propertyNames":{"pattern":"b"}}`:                         "#/patternProperties has propertyNames beside it, which is not supported: leave one of both out",
		`{"patternProperties":{"^a$":true},"required":["b"]}`:                                      `#/required names "b", which patternProperties does not allow`,
		`{"allOf":[{"patternProperties":{"a":true}},{"additionalProperties":false}]}`:              "#/allOf/1 has patternProperties, which the additionalProperties beside it are for: put both into one schema",
		`{"prefixItems":[{"type":"integer"}],"additionalItems":false}`:                             "#/additionalItems is not for what follows prefixItems: write it as items",
		`{"items":{"type":"integer"},"additionalItems":5}`:                                         "#/additionalItems is no schema: it has to be an object, true or false",
		`{"additionalItems":{"not":{}}}`:                                                           "#/additionalItems/not is not supported: leave it out, or say it otherwise",
		`{"allOf":[{"items":[true]},{"items":{"type":"null"}}]}`:                                   "#/allOf/1/items says something else than the schema beside it: put both into one",
		`{"allOf":[{"items":{"type":"null"}},{"items":[true]}]}`:                                   "#/allOf/1/items says something else than the schema beside it: put both into one",
		`{"type":"string","format":"ipvanynetwork"}`:                                               `#/format is "ipvanynetwork", which is not supported: leave it out, or write it as a pattern`,
	} {
		_, err := Schema([]byte(schema))
		require.EqualError(t, err, want, schema)
	}
}
