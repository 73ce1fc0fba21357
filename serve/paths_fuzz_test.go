package serve

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzLoadable: no lora_path leads out of the folders that adapters are loaded
// from, links aside.
func FuzzLoadable(f *testing.F) {
	root := f.TempDir()
	adapters, allowed := filepath.Join(root, "adapters"), filepath.Join(root, "allowed")
	for _, dir := range []string{adapters, allowed, filepath.Join(adapters, "a"), filepath.Join(root, "adapters-other")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			f.Fatal(err)
		}
	}
	s := &Server{config: Config{Adapters: adapters, AllowPaths: []string{allowed}}}
	for _, path := range []string{"a", "/", "..", "", "./a", "file:///a", "file://%2e%2e/", "hf://owner/name", "~/a", "a\x00b", "/./a/../../adapters-other", "//a", "a//../../x", "FILE:///a", "file:a", "\\..\\.."} {
		f.Add(path)
		f.Add(adapters + "/" + path)
		f.Add("file://" + allowed + "/" + path)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		path, err := s.loadable(uri)
		if err != nil || !isFolderPath(path) {
			return
		}
		if !filepath.IsAbs(path) || path != filepath.Clean(path) || !below(adapters, path) && !below(allowed, path) {
			t.Errorf("%q leads to %q", uri, path)
		}
	})
}
