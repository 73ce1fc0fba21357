// Package layout holds no code: its test keeps the direction of imports between
// the folders (docs/adr/0001-layout.md).
package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/peft-serve/peft-serve/"

// below lists, by top-level folder, the folders it may import. A folder may
// always import itself.
var below = map[string][]string{
	"internal":       {},
	"kernels":        {},
	"models":         {"internal", "kernels"},
	"adapters":       {"internal", "models", "kernels"},
	"memory":         {},
	"builtin":        {"adapters", "models", "kernels"},
	"catalogue":      {"internal", "adapters", "models"},
	"runtime":        {"catalogue", "adapters", "models", "kernels"},
	"training":       {"internal", "adapters", "models", "kernels"},
	"serve":          {"internal", "memory", "runtime", "catalogue", "adapters", "models", "kernels"},
	"cmd/peft-serve": {"internal", "builtin", "serve", "memory", "runtime", "catalogue", "adapters", "models", "kernels"},
	"cmd/peft-train": {"internal", "builtin", "training", "adapters", "models", "kernels"},
	"scripts":        {"internal", "builtin", "serve", "training", "runtime", "catalogue", "adapters", "models", "kernels"},
}

// only lists the folders that alone may import a package.
var only = map[string]string{
	"github.com/gofiber/fiber/v2": "serve",
	"unsafe":                      "kernels",
}

func TestDirectionOfImports(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "tools" || name == "deploy") {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(path, ".s") && folder(path) != "kernels" {
			t.Errorf("%s: only kernels holds assembly", path)
		}
		if !strings.HasSuffix(path, ".go") || !strings.Contains(path, "/") {
			return nil
		}
		files++
		checkImports(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d Go files seen", files)
	}
}

func folder(path string) string {
	parts := strings.Split(filepath.ToSlash(path), "/")
	if parts[0] == "cmd" {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

func checkImports(t *testing.T, path string) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	own := folder(path)
	allowed, known := below[own]
	if !known {
		t.Errorf("%s: folder %q is not in the layout", path, own)
	}
	for _, i := range f.Imports {
		name, _ := strconv.Unquote(i.Path.Value)
		if where, ok := only[name]; ok && where != own {
			t.Errorf("%s imports %s, which only %s may", path, name, where)
		}
		rest, ours := strings.CutPrefix(name, module)
		if !ours {
			continue
		}
		to := folder(rest)
		fine := to == own
		for _, a := range allowed {
			fine = fine || a == to
		}
		if !fine {
			t.Errorf("%s imports %s: %s may import only %v", path, name, own, allowed)
		}
	}
}
