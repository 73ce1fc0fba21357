package main

import (
	"context"
	"fmt"
)

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
