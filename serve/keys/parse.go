package keys

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/peft-serve/peft-serve/internal/spelling"
	"github.com/peft-serve/peft-serve/serve/size"
)

// file is one file of keys while it is read.
type file struct {
	path     string
	keys     []Key
	clear    bool // it holds a secret, not only hashes
	warnings []string
	faults   []error
}

// parse reads a list of keys, or one key. It notes every fault by its line.
func parse(path string, text []byte) *file {
	f := &file{path: path}
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		switch err := d.Decode(&document); {
		case errors.Is(err, io.EOF):
			return f
		case err != nil:
			f.faults = append(f.faults, fmt.Errorf("%s: %s", path, strings.ReplaceAll(err.Error(), "\n", " ")))
			return f
		}
		switch n := document.Content[0]; {
		case n.Kind == yaml.SequenceNode:
			for _, item := range n.Content {
				f.key(item)
			}
		case n.Kind == yaml.MappingNode:
			f.key(n)
		case n.Tag != "!!null":
			f.fault(n, "this is no key: write a list of keys, or one, each with name and key or hash")
		}
	}
}

func (f *file) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", f.path, n.Line) }

func (f *file) fault(n *yaml.Node, format string, args ...any) {
	f.faults = append(f.faults, fmt.Errorf("%s: "+format, append([]any{f.at(n)}, args...)...))
}

// key reads one key.
func (f *file) key(n *yaml.Node) {
	k := Key{where: f.at(n)}
	before := len(f.faults)
	var secret *string
	var hashed bool
	count := func(into *int) func(*yaml.Node, string) {
		return func(n *yaml.Node, field string) { f.number(n, field, into) }
	}
	limits := map[string]func(*yaml.Node, string){
		"running": count(&k.Limits.Running), "waiting": count(&k.Limits.Waiting), "uploads": count(&k.Limits.Uploads),
		"prompt": count(&k.Limits.Prompt), "completion": count(&k.Limits.Completion),
		"resident": func(n *yaml.Node, field string) { f.size(n, field, &k.Limits.Resident) },
	}
	f.fields(n, "", map[string]func(*yaml.Node, string){
		"name":   func(n *yaml.Node, field string) { f.name(n, field, &k.Name) },
		"tenant": func(n *yaml.Node, field string) { f.name(n, field, &k.Tenant) },
		"prefix": func(n *yaml.Node, field string) { f.name(n, field, &k.prefix) },
		"key": func(n *yaml.Node, field string) {
			secret = new(string)
			f.text(n, field, secret)
		},
		"hash": func(n *yaml.Node, field string) {
			hashed = true
			var text string
			f.text(n, field, &text)
			var err error
			if k.hash, err = parseHash(text); err != nil {
				f.fault(n, "%s %s", field, err)
			}
		},
		"rights":  func(n *yaml.Node, field string) { f.rights(n, field, &k.Rights) },
		"use":     func(n *yaml.Node, field string) { f.globs(n, field, &k.use) },
		"publish": func(n *yaml.Node, field string) { f.globs(n, field, &k.publish) },
		"weight":  count(&k.weight),
		"limits":  func(n *yaml.Node, _ string) { f.fields(n, "limits.", limits) },
	})
	if len(f.faults) > before {
		return
	}
	switch {
	case k.Name == "":
		f.fault(n, "the key has no name")
	case secret == nil && !hashed:
		f.fault(n, "key %q has neither key nor hash: give one", k.Name)
	case secret != nil && hashed:
		f.fault(n, "key %q has both key and hash: give one", k.Name)
	}
	if secret != nil {
		f.clear = true
		k.hash = sha256.Sum256([]byte(*secret))
		switch warning, err := checkSecret(*secret); {
		case err != nil:
			f.fault(n, "key %q %s", k.Name, err)
		case warning != "":
			f.warnings = append(f.warnings, fmt.Sprintf("%s: key %q %s", f.at(n), k.Name, warning))
		}
	}
	if k.Tenant == "" {
		k.Tenant = k.Name
	}
	if k.Rights == nil {
		k.Rights = []Right{Use}
	}
	for _, err := range k.idle() {
		f.fault(n, "key %q: %s", k.Name, err)
	}
	if len(f.faults) == before {
		f.keys = append(f.keys, k)
	}
}

// idle reports what a key says that its rights leave no use for.
func (k *Key) idle() (faults []error) {
	admin, publishes, uses := k.May(Admin), k.May(Publish), k.May(Use)
	for _, f := range []struct {
		field  string
		said   bool
		admins bool // of an admin's key it has a use
		has    bool
		right  Right
	}{
		{"use", k.use != nil, false, uses || publishes, Use},
		{"publish", k.publish != nil, false, publishes, Publish},
		{"prefix", k.prefix != "", false, publishes, Publish},
		{"limits.uploads", k.Limits.Uploads > 0, true, publishes, Publish},
		{"limits.resident", k.Limits.Resident > 0, true, publishes, Publish},
		{"limits.running", k.Limits.Running > 0, true, uses, Use},
		{"limits.waiting", k.Limits.Waiting > 0, true, uses, Use},
		{"limits.prompt", k.Limits.Prompt > 0, true, uses, Use},
		{"limits.completion", k.Limits.Completion > 0, true, uses, Use},
		{"weight", k.weight > 0, true, uses, Use},
	} {
		switch {
		case !f.said:
		case admin && !f.admins:
			faults = append(faults, fmt.Errorf("%s is given, and with the right admin it may everything: leave out one of them", f.field))
		case !f.has:
			faults = append(faults, fmt.Errorf("%s is given, but its rights have no %s", f.field, f.right))
		}
	}
	return faults
}

// fields reads a mapping whose keys are those of read.
func (f *file) fields(n *yaml.Node, within string, read map[string]func(n *yaml.Node, field string)) {
	if n.Kind != yaml.MappingNode {
		f.fault(n, "%s has to be a mapping, as in name: ci", strings.TrimSuffix(within, ".")+map[bool]string{true: "a key"}[within == ""])
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		field := within + name.Value
		reader, known := read[name.Value]
		switch line, again := seen[name.Value]; {
		case !known:
			f.fault(name, "there is no %s%s", field, meant(name.Value, read))
		case again:
			f.fault(name, "%s is there for the second time: the first is in line %d", field, line)
		case value.Kind == yaml.AliasNode:
			f.fault(value, "%s is an alias: write it out", field)
		default:
			reader(value, field)
		}
		seen[name.Value] = name.Line
	}
}

func meant[T any](name string, known map[string]T) string {
	nearest := spelling.Nearest(name, maps.Keys(known))
	if nearest == "" {
		return ": there are " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	}
	return ": did you mean " + nearest + "?"
}

func (f *file) text(n *yaml.Node, field string, into *string) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		f.fault(n, "%s has to be a text", field)
		return
	}
	*into = n.Value
}

func (f *file) name(n *yaml.Node, field string, into *string) {
	before := len(f.faults)
	if f.text(n, field, into); len(f.faults) == before && !isName(*into) {
		f.fault(n, "%s is %q: use 1 to 128 letters, digits, dots, dashes and underscores, the first not a dot", field, *into)
	}
}

func (f *file) number(n *yaml.Node, field string, into *int) {
	v, err := strconv.ParseInt(n.Value, 10, 32)
	if n.Kind != yaml.ScalarNode || err != nil || v < 1 {
		f.fault(n, "%s has to be a whole number above 0", field)
		return
	}
	*into = int(v)
}

func (f *file) size(n *yaml.Node, field string, into *int64) {
	v, err := size.Parse(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < 1 {
		f.fault(n, "%s has to be a size above 0, as in 512MiB", field)
		return
	}
	*into = v
}

// list reads a list of texts, or one.
func (f *file) list(n *yaml.Node, field string, item func(n *yaml.Node, text string)) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	if len(items) == 0 {
		f.fault(n, "%s is empty: leave it out, or give some", field)
	}
	for _, i := range items {
		before := len(f.faults)
		var text string
		if f.text(i, field, &text); len(f.faults) == before {
			item(i, text)
		}
	}
}

func (f *file) rights(n *yaml.Node, field string, into *[]Right) {
	f.list(n, field, func(n *yaml.Node, text string) {
		switch r := Right(text); {
		case !slices.Contains(rights, r):
			f.fault(n, "%s: there is no right %q: there are use, publish, metrics, admin", field, text)
		case slices.Contains(*into, r):
			f.fault(n, "%s: %s is there twice", field, text)
		default:
			*into = append(*into, r)
		}
	})
	slices.Sort(*into)
}

func (f *file) globs(n *yaml.Node, field string, into *[]glob) {
	f.list(n, field, func(n *yaml.Node, text string) {
		g, err := parseGlob(text)
		if err != nil {
			f.fault(n, "%s %s", field, err)
			return
		}
		*into = append(*into, g)
	})
}
