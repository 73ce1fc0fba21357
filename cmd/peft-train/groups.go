package main

import (
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/dataset"
	"github.com/peft-serve/peft-serve/training/export"
	"github.com/peft-serve/peft-serve/training/merge"
	"github.com/peft-serve/peft-serve/training/plan"
)

// groups are the sections of run's --help.
var groups = []kong.Group{
	{Key: "base", Title: "Base model"},
	{Key: "data", Title: "Data"},
	{Key: "method", Title: "Method"},
	{Key: "schedule", Title: "Steps and learning rate"},
	{Key: "optimizer", Title: "Optimizer"},
	{Key: "output", Title: "Output"},
	{Key: "compute", Title: "Memory and compute"},
}

// placeholders says in plain words what flags take that show no example.
func placeholders(node *kong.Node) {
	words := map[reflect.Kind]string{reflect.Int: "N", reflect.Uint64: "N", reflect.Float64: "NUMBER", reflect.String: "TEXT"}
	for _, f := range node.Flags {
		if f.PlaceHolder == "" && !f.HasDefault {
			f.PlaceHolder = words[f.Target.Kind()] // of others kong's own
		}
	}
	for _, child := range node.Children {
		placeholders(child)
	}
}

// names are the lists that help texts show.
func names() map[string]string {
	return map[string]string{
		"methods": strings.Join(training.Methods(), ", "), "tasks": strings.Join(dataset.Tasks(), ", "),
		"formats": strings.Join(dataset.Formats, ", "), "turns": strings.Join(dataset.Turns, ", "), "schedules": strings.Join(training.Schedules, ", "),
		"optimizers": strings.Join(training.Optimizers, ", "), "starts": strings.Join(adapters.Starts, ", "),
		"objectives": strings.Join(training.Objectives, ", "),
		"published":  strings.Join(plan.Published(), ", "), "kinds": strings.Join(merge.Kinds, ", "), "dtypes": strings.Join(export.DTypes(), ", "),
	}
}
