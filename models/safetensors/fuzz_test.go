package safetensors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzIndex opens a sharded folder by whatever index it is given.
func FuzzIndex(f *testing.F) {
	dir := f.TempDir()
	shards, err := filepath.Glob("testdata/sharded/*")
	if err != nil || len(shards) == 0 {
		f.Fatalf("no shards: %v", err)
	}
	for _, shard := range shards {
		b, err := os.ReadFile(shard)
		if err != nil {
			f.Fatal(err)
		}
		if filepath.Base(shard) == IndexFile {
			f.Add(b)
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(shard)), b, 0o600); err != nil {
			f.Fatal(err)
		}
	}
	f.Add([]byte(`{"weight_map":{"a.weight":"../x"}}`))
	f.Add([]byte(`{"metadata":{},"weight_map":{"a.weight":null}}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		if err := os.WriteFile(filepath.Join(dir, IndexFile), index, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := OpenFolder(dir)
		if err != nil {
			if !strings.Contains(err.Error(), IndexFile) {
				t.Errorf("no index in %v", err)
			}
			return
		}
		if file.Len() == 0 {
			t.Error("no tensors")
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
}
