package catalogue

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/peft-serve/peft-serve/internal/spelling"
)

// An Alias says which versions of an adapter answer by its name. It is a file of
// YAML, which the server writes and an operator may:
//
//	live: 9f86d081…
//	canary: {digest: 60303ae2…, percent: 5}
type Alias struct {
	Live    string  // a digest; empty: whatever is in the folder of that name
	Canary  string  // likewise; empty: there is none
	Percent float64 // of the sessions that the canary answers; above 0 where there is one
}

// ErrAlias is a file that is not an alias.
var ErrAlias = errors.New("the adapter's alias cannot be followed")

// maxAlias is more than an alias with comments takes.
const maxAlias = 64 << 10

// choose is the version that answers a session, which is any text: the same one
// always, on every server, for as long as the alias stays, and to a canary whose
// share grows those that it had and others. Without a text it is the live one.
func (a Alias) choose(session string) (digest string, canary bool) {
	if a.Canary == "" || session == "" || lot(a.Canary, session) >= a.Percent/100 {
		return a.Live, false
	}
	return a.Canary, true
}

// lot is a number from 0 to below 1 that another canary draws anew.
func lot(canary, session string) float64 {
	h := sha256.Sum256([]byte(canary + "\x00" + session))
	return float64(binary.BigEndian.Uint64(h[:])>>11) / (1 << 53)
}

// Text is the alias as a file.
func (a Alias) Text() []byte {
	var b bytes.Buffer
	if a.Live != "" {
		fmt.Fprintf(&b, "live: %q\n", a.Live)
	}
	if a.Canary != "" {
		fmt.Fprintf(&b, "canary:\n  digest: %q\n  percent: %s\n", a.Canary, strconv.FormatFloat(a.Percent, 'f', -1, 64))
	}
	return b.Bytes()
}

// ParseAlias reads an alias, and reports every fault of it by its line.
func ParseAlias(text []byte) (Alias, error) {
	var p aliasParser
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&document)
	switch {
	case errors.Is(err, io.EOF):
		return Alias{}, nil
	case err == nil && !errors.Is(decoder.Decode(&more), io.EOF):
		err = errors.New("it has more than one document")
	}
	if err != nil {
		return Alias{}, fmt.Errorf("%w: %s", ErrAlias, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return Alias{}, nil
	}
	p.alias(root)
	if len(p.faults) > 0 {
		return Alias{}, fmt.Errorf("%w: %w", ErrAlias, errors.Join(p.faults...))
	}
	return p.a, nil
}

type aliasParser struct {
	a      Alias
	faults []error
}

func (p *aliasParser) fault(n *yaml.Node, format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf("line %d: "+format, append([]any{n.Line}, args...)...))
}

func (p *aliasParser) alias(n *yaml.Node) {
	var canary *yaml.Node
	said := 0
	p.fields(n, "", map[string]func(*yaml.Node){
		"live": func(n *yaml.Node) { p.digest(n, "live", &p.a.Live) },
		"canary": func(n *yaml.Node) {
			canary = n
			p.fields(n, "canary.", map[string]func(*yaml.Node){
				"digest":  func(n *yaml.Node) { said++; p.digest(n, "canary.digest", &p.a.Canary) },
				"percent": func(n *yaml.Node) { said++; p.percent(n) },
			})
		},
	})
	switch {
	case len(p.faults) > 0 || canary == nil:
	case said < 2:
		p.fault(canary, "canary needs digest and percent")
	case p.a.Canary == p.a.Live:
		p.fault(canary, "canary.digest is the live version's: give another, or leave canary out")
	case p.a.Percent == 0:
		p.a.Canary = ""
	}
}

// fields reads a mapping.
func (p *aliasParser) fields(n *yaml.Node, in string, known map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.fault(n, "%s has to be fields: %s", cmp.Or(strings.TrimSuffix(in, "."), "the file"), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read := known[key.Value]
		switch {
		case read == nil:
			hint := ""
			if meant := spelling.Nearest(key.Value, maps.Keys(known)); meant != "" {
				hint = fmt.Sprintf(": did you mean %s%s?", in, meant)
			}
			p.fault(key, "there is no field %s%s%s", in, key.Value, hint)
		case seen[key.Value]:
			p.fault(key, "%s%s is there twice", in, key.Value)
		default:
			read(value)
		}
		seen[key.Value] = true
	}
}

// digests are what a version can be called; none leads out of a folder.
var digests = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,127}$`)

// IsDigest reports whether a text can be the digest of a version.
func IsDigest(text string) bool { return digests.MatchString(text) }

func (p *aliasParser) digest(n *yaml.Node, field string, into *string) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || !IsDigest(n.Value) {
		p.fault(n, "%s is no digest: write one as X-Adapter-Digest and GET /v1/adapters/NAME/versions tell it", field)
		return
	}
	*into = n.Value
}

func (p *aliasParser) percent(n *yaml.Node) {
	f, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || !(f >= 0 && f <= 100) {
		p.fault(n, "canary.percent is no number from 0 to 100")
		return
	}
	p.a.Percent = f
}
