// Package builtin is the base that comes along in the programs themselves, with
// adapters on it. README.md, beside this file, says what they are, how well they
// do and under which terms; `make builtin` makes all of it.
//
// It stands above models and adapters, because it holds both.
package builtin

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
)

const (
	// Name is what the base is called, in its metadata and by its adapters.
	Name = "gutenberg"
	// Scheme is that of the URIs of what is built in.
	Scheme = "builtin"
	// Base is the base's URI. There is no adapter of that name.
	Base = Scheme + "://base"
)

//go:embed base.gguf
var base []byte

//go:embed adapters
var folders embed.FS

// GGUF is the contents of the base's file, which are not to be written to.
func GGUF() []byte { return base }

// Adapter is one of those that come along.
type Adapter struct {
	Name    string
	URI     string
	Example string // a prompt of the kind that it was trained on
}

// Adapters are all of them, by name.
func Adapters() []Adapter {
	entries, err := folders.ReadDir("adapters")
	if err != nil {
		panic(err) // a fault of the program, here and below
	}
	var all []Adapter
	for _, e := range entries {
		example, err := folders.ReadFile(path.Join("adapters", e.Name(), ExampleFile))
		if err != nil {
			panic(err)
		}
		all = append(all, Adapter{Name: e.Name(), URI: Scheme + "://" + e.Name(), Example: strings.TrimSuffix(string(example), "\n")})
	}
	return all
}

// ExampleFile is the file beside an adapter's that holds its example.
const ExampleFile = "example.txt"

// Has reports whether a URI is that of a built-in adapter.
func Has(uri string) bool { return strings.HasPrefix(uri, Scheme+"://") && uri != Base }

// Open reads the adapter of a URI.
func Open(uri string) (*adapters.Folder, error) {
	dir := path.Join("adapters", strings.TrimPrefix(uri, Scheme+"://"))
	config, err := folders.ReadFile(path.Join(dir, adapters.ConfigFile))
	if err != nil || !Has(uri) {
		return nil, fmt.Errorf("%s: there is no such adapter", uri)
	}
	tensors, err := folders.ReadFile(path.Join(dir, adapters.SafeFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", uri, err)
	}
	return adapters.OpenBytes(uri, config, tensors)
}
