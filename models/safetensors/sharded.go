package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// The names under which transformers saves a model's weights.
const (
	SingleFile = "model.safetensors"
	IndexFile  = "model.safetensors.index.json"
)

// OpenFolder opens a model's folder: the shards that IndexFile lists where it
// is there, SingleFile otherwise. A shard that is absent, a tensor that the
// index promises and its shard lacks, and a tensor in two shards are errors.
func OpenFolder(dir string) (*File, error) { return openFolder(dir, false) }

// OpenFolderPrivate is OpenFolder for one who writes to the tensors' Data,
// which changes this File alone and never the files on disk.
func OpenFolderPrivate(dir string) (*File, error) { return openFolder(dir, true) }

func openFolder(dir string, private bool) (*File, error) {
	index := filepath.Join(dir, IndexFile)
	if _, err := os.Stat(index); errors.Is(err, fs.ErrNotExist) {
		return newFile(filepath.Join(dir, SingleFile), private).open()
	}
	return openIndex(index, private)
}

// OpenIndex opens the shards that the index file at path lists, which lie
// beside it; see OpenFolder.
func OpenIndex(path string) (*File, error) { return openIndex(path, false) }

func openIndex(path string, private bool) (*File, error) {
	placement, err := readIndex(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := newFile(filepath.Dir(path), private)
	if err := f.shards(path, placement); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *File) shards(index string, placement map[string]string) error {
	home := map[string]string{} // the shard in which a tensor was found
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(placement))) {
		tensors, metadata, err := f.mapped(filepath.Join(filepath.Dir(index), shard))
		if err != nil {
			return fmt.Errorf("%s: shard %q: %w", index, shard, err)
		}
		for _, t := range tensors {
			if first, ok := home[t.Name]; ok {
				return fmt.Errorf("%s: %w: tensor %q is in %q and in %q", index, ErrInvalid, t.Name, first, shard)
			}
			home[t.Name] = shard
		}
		f.fill(tensors, metadata)
	}
	for _, name := range slices.Sorted(maps.Keys(placement)) {
		if home[name] != placement[name] {
			return fmt.Errorf("%s: %w: %q is not in shard %q where the index places it", index, ErrMissing, name, placement[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(home)) {
		if placement[name] == "" {
			return fmt.Errorf("%s: %w: the index does not place %q, which is in shard %q", index, ErrInvalid, name, home[name])
		}
	}
	return nil
}

// readIndex returns the shard of each tensor in an index file.
func readIndex(path string) (map[string]string, error) {
	b, err := regular.Text(path, regular.Config)
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(index.WeightMap) == 0 {
		return nil, fmt.Errorf("%w: no weight_map", ErrInvalid)
	}
	for name, shard := range index.WeightMap {
		if shard != filepath.Base(shard) || !filepath.IsLocal(shard) {
			return nil, fmt.Errorf("%w: shard %q of tensor %q is not a file name", ErrInvalid, shard, name)
		}
	}
	return index.WeightMap, nil
}
