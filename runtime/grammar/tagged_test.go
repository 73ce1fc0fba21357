package grammar

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A discriminator's property is always written, and tells the parts apart, wherever its
// schema is put together with others.
func TestDiscriminator(t *testing.T) {
	of := func(name, value string) string {
		return `{"type":"object","properties":{"` + name + `":{"const":"` + value + `"}},"additionalProperties":false}`
	}
	parts := `[` + of("k", "a") + `,` + of("k", "b") + `]`
	tag := func(keyword string) string {
		return `"` + keyword + `":` + parts + `,"discriminator":{"propertyName":"k"}`
	}
	for _, keyword := range []string{"anyOf", "oneOf"} {
		defs := `"$defs":{"P":{` + tag(keyword) + `}}`
		for _, schema := range []string{
			`{"allOf":[{"type":"object"}],` + tag(keyword) + `}`,
			`{"allOf":[{` + tag(keyword) + `},{"type":"object"}]}`,
			`{"allOf":[{"$ref":"#/$defs/P"}],` + defs + `}`,
			`{"$ref":"#/$defs/P","type":"object",` + defs + `}`,
			`{"allOf":[{"$ref":"#/$defs/P","type":"object"}],` + defs + `}`,
			`{"allOf":[{"$ref":"#/$defs/P"},{` + tag(keyword) + `}],` + defs + `}`,
			`{"type":"object","anyOf":[{"$ref":"#/$defs/P"}],` + defs + `}`,
		} {
			g, err := Schema([]byte(schema))
			require.NoError(t, err, schema)
			require.True(t, g.Match(`{"k": "a"}`) && g.Match(`{"k": "b"}`), schema)
			require.False(t, g.Match(`{}`) || g.Match(`{"k": "c"}`), schema)
		}

		// A part may be a union too.
		cat := func(color string) string {
			return `{"type":"object","properties":{"k":{"const":"a"},"color":{"const":"` + color + `"}},"additionalProperties":false}`
		}
		nested := `{"` + keyword + `":[{"` + keyword + `":[` + cat("red") + `,` + cat("blue") + `],"discriminator":{"propertyName":"color"}},` +
			of("k", "b") + `],"discriminator":{"propertyName":"k"}}`
		g, err := Schema([]byte(nested))
		require.NoError(t, err, nested)
		require.True(t, g.Match(`{"k": "a", "color": "red"}`) && g.Match(`{"k": "a", "color": "blue"}`) && g.Match(`{"k": "b"}`), nested)
		require.False(t, g.Match(`{}`) || g.Match(`{"k": "a"}`) || g.Match(`{"color": "red"}`) || g.Match(`{"k": "b", "color": "red"}`), nested)
	}
	for schema, want := range map[string]string{
		`{"anyOf":[` + of("k", "a") + `,{"anyOf":` + parts + `}],"discriminator":{"propertyName":"k"}}`:       `#/anyOf/1 gives "k", the discriminator's property, the value "a", as 0 does: give each values of its own`,
		`{"oneOf":[` + of("k", "a") + `,` + of("k", "a") + `],"discriminator":{"propertyName":"k"}}`:          `#/oneOf/1 gives "k", the discriminator's property, the value "a", as 0 does: give each values of its own`,
		`{"anyOf":[{"anyOf":[` + of("k", "a") + `,{"type":"object"}]}],"discriminator":{"propertyName":"k"}}`: `#/anyOf/0/anyOf/1 gives "k", the discriminator's property, no const and no enum: give it one`,
		`{"allOf":[{"type":"object","discriminator":{"propertyName":"k"}}]}`:                                  "#/allOf/0/discriminator has no oneOf or anyOf beside it: leave it out",
		`{"oneOf":[{"oneOf":` + parts + `},{"oneOf":` + parts + `}]}`:                                         "#/oneOf may have instances of both 0 and 1, of which only one is to hold: give them different types, or a property each with a const of its own, or use anyOf",
	} {
		_, err := Schema([]byte(schema))
		require.EqualError(t, err, want, schema)
	}
	for _, schema := range []string{
		`{"anyOf":[{"$ref":"#"}],"discriminator":{"propertyName":"k"}}`,
		`{"$defs":{"P":{"anyOf":[{"$ref":"#/$defs/P"}]}},"anyOf":[{"$ref":"#/$defs/P"}],"discriminator":{"propertyName":"k"}}`,
	} {
		_, err := Schema([]byte(schema))
		require.ErrorContains(t, err, "nests deeper than 100", schema)
	}
}
