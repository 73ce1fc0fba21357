package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/downloads"
	"github.com/peft-serve/peft-serve/models/hub"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/plan"
)

// fetch brings what ref names into the local cache, while people watch.
func fetch(ctx context.Context, ref hub.Ref, c console) (hub.Snapshot, error) {
	config, err := hub.ConfigFrom(os.Getenv)
	if err != nil {
		return hub.Snapshot{}, err
	}
	shown := downloads.New(c.err, func(n int64) string { return training.Size(n).String() })
	config.Progress = func(p hub.Progress) { shown.Show(p.Repo, p.File, p.Done, p.Size) }
	config.Waiting = func(err error, wait time.Duration) { shown.Say("%s; trying again in %s", err, wait) }
	h, err := hub.New(config)
	if err != nil {
		return hub.Snapshot{}, err
	}
	snapshot, err := h.Fetch(ctx, ref)
	shown.End()
	if err == nil && snapshot.Stale != nil {
		c.note("the hub cannot be reached, the cached copy is used: %s", snapshot.Stale)
	}
	return snapshot, err
}

// fetchModel returns where a model lies: path itself, a copy of what is built in or,
// of an hf:// URI, what has been fetched.
func fetchModel(ctx context.Context, path string, c console) (string, error) {
	switch {
	case path == builtin.Base:
		return builtinFile()
	case !hub.IsRef(path):
		return path, nil
	}
	ref, err := hub.ParseRef(path)
	if err != nil {
		return "", err
	}
	snapshot, err := fetch(ctx, ref, c)
	if err != nil {
		return "", err
	}
	return snapshot.Path(), nil
}

// builtinFile returns a file of the built-in base in the user's cache folder.
func builtinFile() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%s: %w", builtin.Base, err)
	}
	whole := builtin.GGUF()
	path := filepath.Join(cache, "peft-serve", "builtin", fmt.Sprintf("%x.gguf", sha256.Sum256(whole)))
	if stat, err := os.Stat(path); err == nil && stat.Size() == int64(len(whole)) {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, disk.Write(path, whole)
}

// openShape opens a base for its shape alone. Of a repository only config.json
// is fetched, of one of its GGUF files the file.
func openShape(ctx context.Context, base string, reading training.BaseConfig, c console) (*plan.Base, error) {
	path := base
	if hub.IsRef(base) {
		ref, err := hub.ParseRef(base)
		if err != nil {
			return nil, err
		}
		if ref.File == "" {
			ref.File = "config.json"
		}
		snapshot, err := fetch(ctx, ref, c)
		if err != nil {
			return nil, err
		}
		path = snapshot.Path()
	} else if base == builtin.Base {
		var err error
		if path, err = builtinFile(); err != nil {
			return nil, err
		}
	}
	shape, err := plan.Open(path, reading.Options())
	if err != nil || path == base {
		return shape, err
	}
	shape.Name = base
	return shape, nil
}
