package main

import (
	"context"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/models/hub"
	"github.com/peft-serve/peft-serve/training"
)

// openBase opens a folder, a .gguf file, what is built in or what an hf:// URI
// names, which is fetched first if it has to be.
func openBase(ctx context.Context, uri string, reading training.BaseConfig, c console) (*training.Opened, error) {
	if !hub.IsRef(uri) {
		return openPath(uri, reading, c)
	}
	ref, err := hub.ParseRef(uri)
	if err != nil {
		return nil, err
	}
	snapshot, err := fetch(ctx, ref, c)
	if err != nil {
		return nil, err
	}
	base, err := openPath(snapshot.Path(), reading, c)
	if err != nil {
		return nil, err
	}
	if base.Name = ref.Repo; ref.Revision != "main" {
		base.Revision = ref.Revision
	}
	return base, nil
}

// openAdapter opens a folder, or the adapter that is built in by that URI; nil of none.
func openAdapter(uri string) (*adapters.Folder, error) {
	switch {
	case uri == "":
		return nil, nil
	case builtin.Has(uri):
		return builtin.Open(uri)
	}
	return adapters.Open(uri)
}

func openPath(path string, reading training.BaseConfig, c console) (o *training.Opened, err error) {
	if path == builtin.Base {
		o, err = training.OpenBytes(path, builtin.GGUF(), reading)
	} else {
		o, err = training.Open(path, reading)
	}
	if err != nil {
		return nil, err
	}
	for _, w := range o.Source.Warnings {
		c.note("warning: %s", w)
	}
	return o, nil
}
