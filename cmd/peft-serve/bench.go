package main

import (
	"context"
	"errors"
	"fmt"
)

// benchCommand measures. Its flags say what: a base alone (prefill and
// decode), a mix of adapters, the kernels, or any OpenAI-compatible server
// under the same load.
type benchCommand struct {
	Base string `group:"base" placeholder:"MODEL" help:"Hugging Face folder, .gguf file or hf://owner/name to measure"`
	reading
	Threads int `group:"base" placeholder:"N" default:"0" help:"Threads that compute; by default every core"`

	Prompt      int `group:"load" local:"" placeholder:"TOKENS" default:"0" help:"Tokens of a prompt; by default 512, and 64 under concurrent load"`
	Generate    int `group:"load" local:"" placeholder:"TOKENS" default:"64" help:"Tokens to generate"`
	Repetitions int `group:"load" local:"" placeholder:"N" default:"3" help:"Times each is measured; medians are reported"`
	Requests    int `group:"load" local:"" placeholder:"N" default:"8" help:"Concurrent requests with --adapters and --url"`
	Seed        int `group:"load" local:"" placeholder:"N" default:"1" help:"Seed of the adapters and of where prompts begin"`

	Adapters int      `group:"adapters" local:"" placeholder:"N" default:"0" help:"Measure requests spread over N adapters, against the base alone"`
	Rank     int      `group:"adapters" local:"" placeholder:"R" default:"8" help:"Rank of the random LoRA adapters that are made for it"`
	Targets  []string `group:"adapters" local:"" placeholder:"MODULE" sep:"none" help:"Modules that they adapt; by default q_proj and v_proj, or c_attn"`
	Keep     string   `group:"adapters" local:"" placeholder:"DIR" help:"Leave the adapters there, as PEFT folders named bench-0, bench-1 and so on"`

	URL       string   `group:"http" local:"" placeholder:"URL" help:"Measure this running OpenAI-compatible server instead: http://127.0.0.1:8080"`
	Key       string   `group:"http" local:"" placeholder:"KEY" help:"Its API key"`
	Model     string   `group:"http" local:"" placeholder:"NAME" help:"Its base's name; by default the first of /v1/models"`
	Models    []string `group:"http" local:"" placeholder:"NAME" sep:"none" help:"Its adapters' names; by default those of /v1/models that have a parent"`
	Schema    string   `group:"http" local:"" placeholder:"FILE" help:"Measure answers kept to this JSON schema too, beside free ones; one that no short answer satisfies, since free ones do not end early"`
	LoraField bool     `group:"http" local:"" help:"Select adapters as llama.cpp's server does, by lora: [{id, scale}] in the body, ids from 0"`

	Kernels bool `group:"output" local:"" help:"Measure matrix products by shape and format"`
	JSON    bool `name:"json" group:"output" local:"" help:"Write JSON instead of a table"`
}

func (b *benchCommand) validate(wrong *faults) {
	kinds := 0
	for _, chosen := range []bool{b.Base != "" && b.URL == "", b.URL != "", b.Kernels} {
		if chosen {
			kinds++
		}
	}
	if kinds == 0 {
		wrong.add("bench: say what to measure: --base MODEL, --url URL or --kernels")
	}
	if b.URL != "" && b.Kernels {
		wrong.add("--url: cannot be measured together with --kernels")
	}
	if b.Schema != "" && b.URL == "" {
		wrong.add("--schema: is for --url")
	}
	for _, n := range []struct {
		name            string
		value, smallest int
	}{
		{"prompt", b.Prompt, 0}, {"generate", b.Generate, 1}, {"repetitions", b.Repetitions, 1}, {"requests", b.Requests, 1},
		{"adapters", b.Adapters, 0}, {"rank", b.Rank, 1}, {"threads", b.Threads, 0},
	} {
		if n.value < n.smallest {
			wrong.add("--%s: %d is below %d", n.name, n.value, n.smallest)
		}
	}
}

// Run measures what the flags ask for and reports it once.
func (b *benchCommand) Run(ctx context.Context, c console) error {
	r := report{Version: version, Threads: threads(b.Threads)}
	var err error
	switch {
	case b.URL != "":
		err = b.measureServer(ctx, &r)
	case b.Kernels:
		err = b.measureKernels(ctx, &r)
	case b.Adapters > 0:
		err = b.measureMix(ctx, c, &r)
	default:
		err = b.measureSpeed(ctx, c, &r)
	}
	if ctx.Err() != nil {
		return errors.New("interrupted: nothing to report")
	}
	if err != nil {
		return err
	}
	if b.JSON {
		return r.json(c.out)
	}
	return r.table(c.out)
}

// promptTokens is the length of a prompt under this load.
func (b *benchCommand) promptTokens(otherwise int) int {
	if b.Prompt > 0 {
		return b.Prompt
	}
	return otherwise
}

// load is one variant of the concurrent load: the adapter of each request.
type load struct {
	name     string
	adapters []string // one a request; "" is the base
	schema   []byte   // of the answers; nil: they are free
}

// variants are the loads to compare: the base alone, one adapter for all,
// and the adapters in turn.
func variants(requests int, adapters []string) []load {
	all := []load{{name: "base", adapters: make([]string, requests)}}
	if len(adapters) == 0 {
		return all
	}
	same, mixed := make([]string, requests), make([]string, requests)
	for i := range requests {
		same[i], mixed[i] = adapters[0], adapters[i%len(adapters)]
	}
	all = append(all, load{name: "same adapter", adapters: same})
	if len(adapters) > 1 {
		all = append(all, load{name: fmt.Sprintf("%d adapters", len(adapters)), adapters: mixed})
	}
	return all
}
