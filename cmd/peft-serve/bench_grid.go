package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/sample"
)

// The grid of adapters as people train them.
var (
	gridRanks    = []int{8, 16, 64}
	gridAdapters = []int{1, 8, 64}
)

// gridCell is one load of the grid beside the base's of as many requests.
type gridCell struct {
	Rank                int       `json:"rank"`
	Targets             string    `json:"targets"`
	Adapters            int       `json:"adapters"`
	Requests            int       `json:"requests"`
	AdapterBytes        int       `json:"adapter_bytes"`
	TokensPerSecond     float64   `json:"tokens_per_second"`
	BaseTokensPerSecond float64   `json:"base_tokens_per_second"`
	Ratio               float64   `json:"ratio_to_base"`
	Samples             []float64 `json:"samples"`
	BaseSamples         []float64 `json:"base_samples"`
}

// measureGrid is concurrent requests under adapters of each rank on each choice of
// modules, as many as there are adapters and no fewer than --requests. A row's loads
// and the base's take turns.
func (b *benchCommand) measureGrid(ctx context.Context, c console, r *report) (err error) {
	most := 0
	for _, n := range gridAdapters {
		most = max(most, b.gridRequests(n))
	}
	d, err := b.newBed(ctx, c, catalogue.Options{Bytes: boundless}, most, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	r.describe(b, d.base)
	r.AdapterPrecision = b.AdapterPrecision
	text, err := d.base.text.EncodePlain(benchText)
	if err != nil {
		return err
	}
	for _, targets := range b.gridTargets(d) {
		for _, rank := range gridRanks {
			if err := b.gridRow(ctx, d, text, rank, targets, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// gridRequests is how many requests run at once under so many adapters.
func (b *benchCommand) gridRequests(adapters int) int { return max(b.Requests, adapters) }

// gridTargets are the choices of modules: those of --targets, or queries and values,
// and all linears.
func (b *benchCommand) gridTargets(d *bed) [][]string {
	if len(b.Targets) > 0 {
		return [][]string{b.Targets}
	}
	usual := usualTargets(d.base.model)
	if usual[0] == allLinear {
		return [][]string{usual}
	}
	return [][]string{usual, {allLinear}}
}

// gridRow measures the adapters of one rank on one choice of modules. They differ in
// a value and share no memory.
func (b *benchCommand) gridRow(ctx context.Context, d *bed, text []int32, rank int, targets []string, r *report) (err error) {
	var names []string
	defer func() {
		for _, name := range names {
			err = errors.Join(err, d.drop(context.WithoutCancel(ctx), name))
		}
	}()
	bytes, err := b.adoptAlike(ctx, d, rank, targets, &names)
	if err != nil {
		return err
	}
	cells := make([]gridCell, len(gridAdapters))
	bases := map[int][]float64{} // by requests
	for round := range b.Repetitions + 1 {
		seen := map[int]float64{}
		for i, n := range gridAdapters {
			requests := b.gridRequests(n)
			prompts := b.prompts(text, round, requests, b.Prompt)
			if _, ok := seen[requests]; !ok {
				m, err := d.run(ctx, prompts, make([]string, requests), b.Generate)
				if err != nil {
					return err
				}
				seen[requests] = rate(m.tokens, m.wall)
			}
			which := make([]string, requests)
			for j := range which {
				which[j] = names[j%n]
			}
			m, err := d.run(ctx, prompts, which, b.Generate)
			if err != nil {
				return err
			}
			if round > 0 { // the first warms up
				cells[i].Samples = append(cells[i].Samples, rate(m.tokens, m.wall))
			}
		}
		for requests, base := range seen {
			if round > 0 {
				bases[requests] = append(bases[requests], base)
			}
		}
	}
	for i, n := range gridAdapters {
		cell := &cells[i]
		cell.Rank, cell.Targets, cell.Adapters, cell.Requests, cell.AdapterBytes = rank, strings.Join(targets, ","), n, b.gridRequests(n), bytes
		cell.BaseSamples = bases[cell.Requests]
		cell.TokensPerSecond, cell.BaseTokensPerSecond = sample.Median(cell.Samples), sample.Median(cell.BaseSamples)
		cell.Ratio = cell.TokensPerSecond / cell.BaseTokensPerSecond
	}
	r.Grid = append(r.Grid, cells...)
	return nil
}

// adoptAlike makes as many adapters as the grid has at once, and returns what one of
// them takes.
func (b *benchCommand) adoptAlike(ctx context.Context, d *bed, rank int, targets []string, names *[]string) (bytes int, err error) {
	made, err := randomLoRA(d.base.model, rank, targets, rand.NewPCG(uint64(b.Seed), uint64(rank)))
	if err != nil {
		return 0, err
	}
	for i := range gridAdapters[len(gridAdapters)-1] {
		values := made.Params()[0].Values()
		values.Data[0] = float32(i) / 1000
		a, err := adapters.LoadIn(d.base.model, folderOf(made), d.base.precision)
		if err != nil {
			return 0, err
		}
		name := fmt.Sprintf("bench-%d", i)
		*names, bytes = append(*names, name), a.Bytes()
		if err := d.adopt(ctx, name, a); err != nil {
			return 0, err
		}
	}
	return bytes, nil
}
