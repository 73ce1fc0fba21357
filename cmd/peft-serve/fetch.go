package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/downloads"
	"github.com/peft-serve/peft-serve/models/hub"
)

// openHub is the hub that the Python world's variables describe.
func openHub(show func(hub.Progress), waiting func(error, time.Duration)) (*hub.Hub, error) {
	config, err := hub.ConfigFrom(os.Getenv)
	if err != nil {
		return nil, err
	}
	config.Progress, config.Waiting = show, waiting
	return hub.New(config)
}

// fetch brings a model or adapter of the hub into the local cache, while
// people watch.
func fetch(ctx context.Context, uri string, c console) (hub.Snapshot, error) {
	ref, err := hub.ParseRef(uri)
	if err != nil {
		return hub.Snapshot{}, err
	}
	shown := downloads.New(c.err, bytesText)
	h, err := openHub(func(p hub.Progress) { shown.Show(p.Repo, p.File, p.Done, p.Size) },
		func(err error, wait time.Duration) { shown.Say("%s; trying again in %s", err, wait) })
	if err != nil {
		return hub.Snapshot{}, err
	}
	snapshot, err := h.Fetch(ctx, ref)
	shown.End()
	if err != nil {
		return hub.Snapshot{}, err
	}
	if snapshot.Stale != nil {
		c.say("the hub cannot be reached, the cached copy is used: %s\n", snapshot.Stale)
	}
	return snapshot, nil
}

// downloadsDir is the folder that the hub's files are kept in; empty: there is none.
func downloadsDir() string {
	config, err := hub.ConfigFrom(os.Getenv)
	if err != nil {
		return "" // which whoever fetches is told
	}
	return config.Cache
}

// hubScheme lets the catalogue take adapters by hf:// URIs. The variables are
// read when the first one comes.
func hubScheme(log *slog.Logger) catalogue.Scheme {
	open := sync.OnceValues(func() (*hub.Hub, error) {
		return openHub(nil, func(err error, wait time.Duration) {
			log.Warn("the hub does not answer", "error", err, "again in", wait)
		})
	})
	return func(ctx context.Context, uri string) (string, error) {
		ref, err := hub.ParseRef(uri)
		if err != nil {
			return "", err
		}
		if ref.File != "" && !strings.HasSuffix(ref.File, adapters.GGUFSuffix) {
			return "", fmt.Errorf("%s names a file: an adapter is a repository, or a %s file of one", uri, adapters.GGUFSuffix)
		}
		h, err := open()
		if err != nil {
			return "", err
		}
		snapshot, err := h.FetchAdapter(ctx, ref)
		if err != nil {
			return "", err
		}
		if snapshot.Stale != nil {
			log.Warn("the hub cannot be reached, the cached copy is used", "adapter", uri, "error", snapshot.Stale)
		}
		log.Info("adapter fetched", "adapter", uri, "commit", snapshot.Commit)
		return snapshot.Path(), nil
	}
}

// pullCommand fetches from the hub.
type pullCommand struct {
	URI string `arg:"" help:"hf://owner/name[@revision][:file]"`
}

// Run prints where the model is, so that it can be used in a script.
func (p *pullCommand) Run(ctx context.Context, c console) error {
	snapshot, err := fetch(ctx, p.URI, c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, snapshot.Path())
	return err
}
