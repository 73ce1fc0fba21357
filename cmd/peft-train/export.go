package main

import (
	"fmt"

	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/export"
)

// exportCommand writes a folder as a GGUF file.
type exportCommand struct {
	From      string `arg:"" help:"A model's folder." type:"path"`
	To        string `arg:"" help:"The GGUF file to write." type:"path"`
	DType     string `name:"dtype" help:"Form of the matrices: ${dtypes}." default:"q8_0"`
	Name      string `help:"general.name (default: the folder's name)."`
	Overwrite bool   `help:"Replace what is at the destination."`
}

// Run exports.
func (e *exportCommand) Run(c console) error {
	r, err := export.Write(export.Options{From: e.From, To: e.To, DType: e.DType, Name: e.Name, Overwrite: e.Overwrite})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s → %s (%s): %d tensors, %s parameters, %s\n", e.From, e.To, e.DType, r.Tensors, grouped(r.Parameters), training.Size(r.Bytes))
	return err
}
