package main

import (
	"context"
	"fmt"

	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/convert"
)

// convertCommand carries an adapter from one system's form to another's.
type convertCommand struct {
	From      string  `arg:"" help:"A PEFT or AdapterHub folder, a GGUF adapter, or a loralib .bin; its form is recognised." type:"path"`
	To        string  `arg:"" help:"The folder to write or, ending in .gguf, the file." type:"path"`
	Base      string  `help:"The base (its configuration is enough), an hf:// URI or a published name: checks names and shapes; GGUF and AdapterHub need it."`
	Form      string  `help:"peft, adapterhub or gguf (default: by the name, and away from what it is)."`
	LoraAlpha float64 `help:"Alpha of a loralib file, which does not say it."`
	NoHead    bool    `name:"without-head" help:"Leave the head of an AdapterHub folder out."`
	Name      string  `help:"The adapter's name in AdapterHub's files."`
	Overwrite bool    `help:"Replace what is at the destination."`
	JSON      bool    `name:"json" help:"Print JSON."`
	training.BaseConfig
}

// Run converts.
func (o *convertCommand) Run(ctx context.Context, c console) error {
	options := convert.Options{From: o.From, To: o.To, Form: o.Form, Alpha: o.LoraAlpha, Name: o.Name, NoHead: o.NoHead, Overwrite: o.Overwrite}
	if o.Base != "" {
		base, err := openShape(ctx, o.Base, o.BaseConfig, c)
		if err != nil {
			return err
		}
		options.Base = base
	}
	r, err := convert.Convert(options)
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		c.note("warning: %s", w)
	}
	if o.JSON {
		return writeJSON(c.out, r)
	}
	_, err = fmt.Fprintf(c.out, "%s (%s) → %s (%s): %s, %d tensors, %s parameters\n", o.From, r.From, o.To, r.To, r.Method, r.Tensors, grouped(r.Parameters))
	return err
}
