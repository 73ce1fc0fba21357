package main

import (
	"context"

	"github.com/peft-serve/peft-serve/training"
)

// pretrainCommand trains a model from random values.
type pretrainCommand struct {
	Recipe string `arg:"" optional:"" help:"YAML file with settings by the names of the flags; a flag wins." type:"path"`
	training.Pretraining
}

// Run trains.
func (p *pretrainCommand) Run(ctx context.Context, c console) error {
	base, err := p.Begin()
	if err != nil {
		return err
	}
	return train(ctx, p.Config(), base, c)
}
