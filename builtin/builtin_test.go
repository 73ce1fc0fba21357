package builtin

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

func open(t *testing.T) (models.Model, *tokenizer.Tokenizer) {
	t.Helper()
	m, s, err := models.OpenGGUFBytes(Base, GGUF(), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if name := s.OwnName(); name != Name {
		t.Errorf("the base calls itself %q, not %q", name, Name)
	}
	text, err := tokenizer.FromGGUF(s.GGUF)
	if err != nil {
		t.Fatal(err)
	}
	return m, text
}

// TestSize: what the programs carry along is 8 MiB at most.
func TestSize(t *testing.T) {
	const most = 8 << 20
	size := len(GGUF())
	err := fs.WalkDir(folders, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := d.Info()
		size += int(file.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if size > most {
		t.Errorf("%d bytes are built in, more than %d", size, most)
	}
}

// TestEveryAdapter: each is of the base, has nothing beside it that would be left
// unread, is what its folder is, and changes what the base says to its example.
func TestEveryAdapter(t *testing.T) {
	m, text := open(t)
	pool := kernels.NewPool(1)
	defer pool.Close()
	methods := map[string]bool{}
	for _, a := range Adapters() {
		t.Run(a.Name, func(t *testing.T) {
			folder, err := Open(a.URI)
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := adapters.Load(m, folder)
			if err != nil {
				t.Fatal(err)
			}
			methods[familyOf(folder.Config.Method)] = true
			if folder.Config.Base != Name {
				t.Errorf("it was made for %q, not %q", folder.Config.Base, Name)
			}
			onDisk, err := adapters.Open("adapters/" + a.Name)
			if err != nil {
				t.Fatal(err)
			}
			if folder.Digest() != onDisk.Digest() {
				t.Errorf("its digest is %s, its folder's %s", folder.Digest(), onDisk.Digest())
			}
			files, err := os.ReadDir("adapters/" + a.Name)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if known := []string{adapters.ConfigFile, adapters.SafeFile, ExampleFile, "README.md"}; !slices.Contains(known, f.Name()) {
					t.Errorf("%s is not read", f.Name())
				}
			}
			if !strings.HasPrefix(a.Example, "Input: ") || !strings.HasSuffix(a.Example, "\nOutput:") {
				t.Errorf("its example is %q", a.Example)
			}
			tokens, err := text.Encode(a.Example, false)
			if err != nil || len(tokens) == 0 {
				t.Fatalf("its example has %d tokens: %v", len(tokens), err)
			}
			own := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens, Adapter: loaded})[0]
			plain := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens})[0]
			if last := len(tokens) - 1; slices.Equal(own.Row(last), plain.Row(last)) {
				t.Error("it changes nothing")
			}
		})
	}
	if n := len(Adapters()); n < 6 {
		t.Errorf("%d adapters, want six at least", n)
	}
	for _, family := range []string{"lora", "dora", "beft", "houlsby"} { // BitFit on a base without biases is BEFT
		if !methods[family] {
			t.Errorf("none is of family %s: there are %v", family, methods)
		}
	}
}

// familyOf is where bottlenecks lie, or a method's name.
func familyOf(m adapters.Method) string {
	if p, ok := m.(interface{ Placement() string }); ok {
		return p.Placement()
	}
	return m.Name()
}

// TestNoSuchAdapter: other URIs are refused by name.
func TestNoSuchAdapter(t *testing.T) {
	for _, uri := range []string{Base, "builtin://", "builtin://nobody", "builtin://../base.gguf", "builtin://sst2/..", "sst2"} {
		if _, err := Open(uri); err == nil || !strings.HasPrefix(err.Error(), uri+": ") {
			t.Errorf("%s: %v", uri, err)
		}
	}
}
