package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A suiteGroup is one of JSON-Schema-Test-Suite's, which testdata/suite.json has of
// draft 2020-12: those of schemas that are refused without their instances.
type suiteGroup struct {
	File    string          `json:"file"`
	About   string          `json:"description"`
	Schema  json.RawMessage `json:"schema"`
	Refused string          `json:"refused,omitempty"` // by this path
	Tests   []suiteTest     `json:"tests,omitempty"`
}

type suiteTest struct {
	About string          `json:"description"`
	Data  json.RawMessage `json:"data"`
	Valid bool            `json:"valid"`
}

const suiteFile = "testdata/suite.json"

// narrower are valid instances that no answer is: what a format, or an encoding that is
// named, allows beside what people write.
var narrower = map[string][]string{
	"date-time": {
		"a valid date-time with a leap second, UTC",
		"a valid date-time with a leap second, with minus offset",
		"case-insensitive T and Z",
		"a second fraction of fifteen nines is valid",
	},
	"content": {
		"an invalid base64 string (% is not a valid character); validates true",
		"an invalid base64 string that is valid JSON; validates true",
	},
	"duration": {
		"a component with many digits is valid",
	},
	"email": {
		"a quoted string with a space in the local part is valid",
		"a quoted string with a double dot in the local part is valid",
		"a quoted string with a @ in the local part is valid",
		"an IPv4-address-literal after the @ is valid",
		"an IPv6-address-literal after the @ is valid",
	},
	"hostname": {
		"maximum label length (63)",
		"consecutive hyphens inside a label",
		"a valid host name (example.test in Hangul)",
		"Exceptions that are PVALID, left-to-right chars",
		"Exceptions that are PVALID, right-to-left chars",
		"MIDDLE DOT with surrounding 'l's",
		"Greek KERAIA followed by Greek",
		"Hebrew GERESH preceded by Hebrew",
		"Hebrew GERSHAYIM preceded by Hebrew",
		"KATAKANA MIDDLE DOT with Hiragana",
		"KATAKANA MIDDLE DOT with Katakana",
		"KATAKANA MIDDLE DOT with Han",
		"Arabic-Indic digits not mixed with Extended Arabic-Indic digits",
		"Extended Arabic-Indic digits not mixed with Arabic-Indic digits",
		"ZERO WIDTH JOINER preceded by Virama",
		"ZERO WIDTH NON-JOINER preceded by Virama",
		"ZERO WIDTH NON-JOINER not preceded by Virama but matches regexp",
	},
	"ipv6": {
		"mixed format with the ipv4 section as decimal octets",
		"mixed format with double colons between the sections",
		"mixed format with leading double colons (ipv4-mapped ipv6 address)",
		"a long valid ipv6",
	},
	"time": {
		"a valid time string with leap second, Zulu",
		"valid leap second, zero time-offset",
		"valid leap second, positive time-offset",
		"valid leap second, large positive time-offset",
		"valid leap second, negative time-offset",
		"valid leap second, large negative time-offset",
		"a valid time string with case-insensitive Z",
	},
	"uri": {
		"a valid puny-coded URL ",
		"a valid URL with many special characters",
		"a valid URL with ftp scheme",
		"a valid URL",
		"a valid mailto URI",
		"a valid newsgroup URI",
		"a valid tel URI",
		"a valid URN",
	},
}

// A schema of the suite is refused by a path, or accepts the valid instances in
// canonical form, and no others. UPDATE=1 SUITE=DIR makes the file of the suite's
// folder.
func TestSuite(t *testing.T) {
	if os.Getenv("UPDATE") != "" {
		makeSuite(t, os.Getenv("SUITE"))
	}
	text, err := os.ReadFile(suiteFile)
	require.NoError(t, err)
	var groups []suiteGroup
	require.NoError(t, json.Unmarshal(text, &groups))
	accepted, refused, valid := 0, 0, 0
	for _, group := range groups {
		name := group.File + ": " + group.About
		g, err := Schema(group.Schema)
		if group.Refused != "" {
			var at *SchemaError
			require.ErrorAs(t, err, &at, name)
			require.Equal(t, group.Refused, at.Path, name)
			refused++
			continue
		}
		require.NoError(t, err, name)
		accepted++
		order := namesIn(t, group.Schema)
		for _, test := range group.Tests {
			v, err := parseJSON(test.Data)
			require.NoError(t, err, name)
			instance := canonical(inOrder(v, order))
			want := test.Valid && !narrow(group.File, test.About)
			if g.Match(instance) != want {
				t.Errorf("%s: %s: %s is valid: %v, accepted: %v", name, test.About, instance, test.Valid, !want)
			}
			if test.Valid {
				valid++
			}
		}
	}
	t.Logf("%d schemas are kept to and %d refused; %d valid instances", accepted, refused, valid)
}

func narrow(file, about string) bool { return slices.Contains(narrower[file], about) }

// namesIn are the names of a schema's properties, in order: those that are declared,
// then those that are required.
func namesIn(t *testing.T, schema []byte) (names []string) {
	t.Helper()
	v, err := parseJSON(schema)
	require.NoError(t, err)
	var declared, required []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			for _, m := range v {
				if o, ok := m.value.(object); ok && m.name == "properties" {
					for _, p := range o {
						declared = append(declared, p.name)
					}
				}
				if o, ok := m.value.(object); ok && m.name == "const" {
					for _, p := range o {
						declared = append(declared, p.name)
					}
				}
				if l, ok := m.value.([]any); ok && m.name == "required" {
					for _, n := range l {
						if n, ok := n.(string); ok {
							required = append(required, n)
						}
					}
				}
				walk(m.value)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	return append(declared, required...)
}

// inOrder is a value with the members of its objects in the order of some names.
func inOrder(v any, names []string) any {
	switch v := v.(type) {
	case object:
		o := make(object, len(v))
		for i, m := range v {
			o[i] = member{m.name, inOrder(m.value, names)}
		}
		place := func(m member) int {
			if i := slices.Index(names, m.name); i >= 0 {
				return i
			}
			return len(names)
		}
		slices.SortStableFunc(o, func(a, b member) int { return place(a) - place(b) })
		return o
	case []any:
		a := make([]any, len(v))
		for i, e := range v {
			a[i] = inOrder(e, names)
		}
		return a
	}
	return v
}

// suiteFormats are those of which the suite's tests are taken.
var suiteFormats = []string{"date-time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"}

func makeSuite(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "tests/draft2020-12/*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "SUITE is no folder of JSON-Schema-Test-Suite")
	for _, f := range suiteFormats {
		files = append(files, filepath.Join(dir, "tests/draft2020-12/optional/format", f+".json"))
	}
	var all []suiteGroup
	for _, file := range files {
		if filepath.Base(file) == "format.json" {
			continue // of those who do not look at formats
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var groups []suiteGroup
		require.NoError(t, json.Unmarshal(text, &groups))
		for _, g := range groups {
			g.File = strings.TrimSuffix(filepath.Base(file), ".json")
			_, err := Schema(g.Schema)
			var at *SchemaError
			if errors.As(err, &at) {
				g.Refused, g.Tests = at.Path, nil
			}
			all = append(all, g)
		}
	}
	var out bytes.Buffer
	for i, g := range all {
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		out.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
		require.NoError(t, e.Encode(g))
		out.Truncate(out.Len() - 1)
	}
	out.WriteString("\n]\n")
	require.NoError(t, os.WriteFile(suiteFile, out.Bytes(), 0o644))
}
