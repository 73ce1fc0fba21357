package pooling

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/regular"
)

// Save writes the recipe beside a model of that width, for sentence-transformers and for Load: the
// files that it was read from or, where there were none, such of its own.
func (r *Recipe) Save(dir string, hidden int) error {
	if err := Forget(dir); err != nil {
		return err
	}
	if r.From == "" {
		return r.write(dir, hidden)
	}
	for _, name := range r.files {
		b, err := regular.Read(filepath.Join(r.dir, name), math.MaxInt64)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = disk.MkdirAll(filepath.Dir(filepath.Join(dir, name)))
		}
		if err == nil {
			err = disk.Write(filepath.Join(dir, name), b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Forget removes what tells Load of a recipe: that of another model which the folder had.
func Forget(dir string) error {
	for _, name := range []string{"modules.json", promptsFile, transformerFile} {
		if err := disk.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// write writes modules.json and the configuration of the module Pooling.
func (r *Recipe) write(dir string, hidden int) error {
	const folder = "1_Pooling"
	modules := []map[string]any{
		{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
		{"idx": 1, "name": "1", "path": folder, "type": "sentence_transformers.models.Pooling"},
	}
	folders := []string{folder}
	if r.Normalize {
		const unit = "2_Normalize"
		modules = append(modules, map[string]any{"idx": 2, "name": "2", "path": unit, "type": "sentence_transformers.models.Normalize"})
		folders = append(folders, unit)
	}
	pooling := map[string]any{"word_embedding_dimension": hidden, "include_prompt": true}
	for m, key := range []string{
		First: "pooling_mode_cls_token", Max: "pooling_mode_max_tokens", Mean: "pooling_mode_mean_tokens",
		MeanSqrt: "pooling_mode_mean_sqrt_len_tokens", WeightedMean: "pooling_mode_weightedmean_tokens", Last: "pooling_mode_lasttoken",
	} {
		pooling[key] = slices.Contains(r.Modes, Mode(m))
	}
	for _, f := range folders {
		if err := disk.MkdirAll(filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	for name, v := range map[string]any{filepath.Join(folder, "config.json"): pooling, "modules.json": modules} {
		b, err := json.MarshalIndent(v, "", "  ")
		if err == nil {
			err = disk.Write(filepath.Join(dir, name), append(b, '\n'))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
