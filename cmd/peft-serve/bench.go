package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
)

// benchCommand measures. Its flags say what: a base alone (prefill and
// decode), a mix of adapters, the kernels, or any OpenAI-compatible server
// under the same load.
type benchCommand struct {
	Base      string `group:"base" placeholder:"MODEL" help:"Hugging Face folder, .gguf file or hf://owner/name to measure"`
	Synthetic string `group:"base" placeholder:"SIZE:FORMAT" help:"Measure a base of random weights instead, made for it, as in 1b:q4_0: the sizes are 135m, 0.5b, 1b, 3b and 7b, the formats those of GGUF"`
	reading
	Threads []int `group:"base" placeholder:"N" help:"Threads that compute; by default every core. Several, as in 1,2,4, measure how a base alone scales"`

	KVType      string  `name:"kv-type" group:"base" placeholder:"TYPE" default:"f32" help:"What keys and values are held in: f32, f16 or q8_0"`
	PromptShare float64 `group:"base" placeholder:"SHARE" default:"0.5" help:"What each prompt may add to the work of a step while answers run, as a share of theirs, or 16 tokens where that is more; 0: as many tokens as a step holds"`

	Prompt      int `group:"load" local:"" placeholder:"TOKENS" default:"0" help:"Tokens of a prompt; by default 512, 64 under concurrent load and 128 of each of 32 texts for an encoder, or what the context of --base holds"`
	Generate    int `group:"load" local:"" placeholder:"TOKENS" default:"64" help:"Tokens to generate; fewer by default where the context of --base holds fewer"`
	Repetitions int `group:"load" local:"" placeholder:"N" default:"3" help:"Times each is measured, in turn; medians are reported, and from 6 on 95 % intervals of the ratios to the base"`
	Requests    int `group:"load" local:"" placeholder:"N" default:"8" help:"Concurrent requests with --adapters, --grid and --url, and those that run at once under --rate here"`
	Seed        int `group:"load" local:"" placeholder:"N" default:"1" help:"Seed of the adapters and of where prompts begin"`

	Adapters         int      `group:"adapters" local:"" placeholder:"N" default:"0" help:"Measure requests spread over N adapters, against the base alone"`
	Rank             int      `group:"adapters" local:"" placeholder:"R" default:"8" help:"Rank of the random LoRA adapters that are made for it"`
	Targets          []string `group:"adapters" local:"" placeholder:"MODULE" sep:"none" help:"Modules that they adapt; by default q_proj and v_proj, or c_attn; all-linear: every linear"`
	Keep             string   `group:"adapters" local:"" placeholder:"DIR" help:"Leave the adapters there, as PEFT folders named bench-0, bench-1 and so on, and the base of --synthetic"`
	AdapterPrecision string   `group:"adapters" local:"" placeholder:"PRECISION" default:"stored" help:"What their factors are held in: stored, which is f32, bf16, f16 or q8_0"`
	Classify         bool     `group:"adapters" local:"" help:"Measure classification by random heads, BitFit and LoRA, --adapters of each, by processor time: one text (of 32 tokens, unless --prompt says otherwise) and --requests (64) at once beside the bare forward of as many, and one text through all heads; with --url by that server, which serves what --keep has left of a bench without --url"`
	Many             int      `group:"adapters" local:"" placeholder:"N" default:"0" help:"Measure what 10, 100 and so on up to N adapters that classify, half BitFit and half LoRA, take in memory, and to list and to switch, by processor time"`
	Grid             bool     `group:"adapters" local:"" help:"Measure adapters of ranks 8, 16 and 64, on --targets or on queries and values and on all linears, 1, 8 and 64 of them at once, each against the base alone"`

	Rate     float64       `group:"sustained" local:"" placeholder:"R" help:"Send R requests a second, at random times, for --duration"`
	Clients  int           `group:"sustained" local:"" placeholder:"N" help:"Have N clients send requests one after another for --duration"`
	Duration time.Duration `group:"sustained" local:"" placeholder:"TIME" default:"1m" help:"How long"`
	Zipf     float64       `group:"sustained" local:"" placeholder:"S" default:"0" help:"Draw the k-th of the adapters in proportion to 1/k^S; 0: evenly"`
	Resident share         `group:"sustained" local:"" placeholder:"SHARE" default:"0.1" help:"Share of the adapters that there is memory for here, of as many as run at once at least (--clients, or --requests under --rate); the others are loaded as they are asked for"`
	TTFT     time.Duration `name:"ttft" group:"sustained" local:"" placeholder:"TIME" help:"Longest time to the first token of a request that counts as good; 0: any"`
	TBT      time.Duration `name:"tbt" group:"sustained" local:"" placeholder:"TIME" help:"Longest mean time between the tokens of a request that counts as good; 0: any"`

	URL       string   `group:"http" local:"" placeholder:"URL" help:"Measure this running OpenAI-compatible server instead: http://127.0.0.1:8080"`
	Key       string   `group:"http" local:"" placeholder:"KEY" help:"Its API key"`
	Model     string   `group:"http" local:"" placeholder:"NAME" help:"Its base's name; by default the first of /v1/models"`
	Models    []string `group:"http" local:"" placeholder:"NAME" sep:"none" help:"Its adapters' names; by default those of /v1/models that have a parent"`
	PID       int      `name:"pid" group:"http" local:"" placeholder:"N" default:"0" help:"Tell tokens a second of processor time too, that of process N, which is the server, on this machine (Linux)"`
	Schema    string   `group:"http" local:"" placeholder:"FILE" help:"Measure answers kept to this JSON schema too, in turn with free ones; one that no short answer satisfies, since free ones do not end early"`
	LoraField bool     `group:"http" local:"" help:"Select adapters as llama.cpp's server does, by lora: [{id, scale}] in the body, ids from 0"`

	Text    string `group:"text" local:"" placeholder:"FILE" help:"Measure the perplexity of this text instead: of its first windows of --prompt tokens, each computed on its own"`
	Windows int    `group:"text" local:"" placeholder:"N" default:"16" help:"How many of them"`
	Adapter string `group:"text" local:"" placeholder:"DIR" help:"A PEFT folder, the text's under it"`

	Kernels bool `group:"output" local:"" help:"Measure matrix products by shape and format: those of the base, if one is given"`
	JSON    bool `name:"json" group:"output" local:"" help:"Write JSON instead of a table"`

	given map[string]bool // flags of the command line
}

func (b *benchCommand) validate(wrong *faults) {
	if b.Base == "" && b.Synthetic == "" && b.URL == "" && !b.Kernels {
		wrong.add("bench: say what to measure: --base MODEL, --synthetic SIZE:FORMAT, --url URL or --kernels")
	}
	if (b.Classify || b.Many > 0) && b.Base == "" {
		wrong.add("--classify and --many: say by --base MODEL what the adapters are of")
	}
	b.validateTogether(wrong)
	b.validateRead(wrong)
	b.reading.validate(wrong)
	if _, _, err := parseSynthetic(b.Synthetic); b.Synthetic != "" && err != nil {
		wrong.add("--synthetic: %s", err)
	}
	if _, err := adapters.ParsePrecision(b.AdapterPrecision); err != nil {
		wrong.add("--adapter-precision: %s", err)
	}
	validateKVType(wrong, b.KVType)
	b.validateThreads(wrong)
	validatePromptShare(wrong, b.PromptShare)
	for _, n := range []struct {
		name            string
		value, smallest int
	}{
		{"prompt", b.Prompt, 0}, {"generate", b.Generate, 1}, {"repetitions", b.Repetitions, 1}, {"requests", b.Requests, 1},
		{"adapters", b.Adapters, 0}, {"many", b.Many, 0}, {"windows", b.Windows, 1}, {"rank", b.Rank, 1}, {"pid", b.PID, 0},
	} {
		if n.value < n.smallest {
			wrong.add("--%s: %d is below %d", n.name, n.value, n.smallest)
		}
	}
}

// validateTogether reports what cannot be measured together.
func (b *benchCommand) validateTogether(wrong *faults) {
	for _, pair := range []struct {
		one, other string
		both       bool
	}{
		{"url", "kernels", b.URL != "" && b.Kernels}, {"url", "grid", b.URL != "" && b.Grid}, {"kernels", "grid", b.Kernels && b.Grid},
		{"synthetic", "base", b.Synthetic != "" && b.Base != ""}, {"synthetic", "url", b.Synthetic != "" && b.URL != ""},
		{"rate", "clients", b.Rate > 0 && b.Clients > 0}, {"grid", "rate or --clients", b.Grid && b.lasts()}, {"kernels", "rate or --clients", b.Kernels && b.lasts()},
		{"schema", "rate or --clients", b.Schema != "" && b.lasts()}, {"grid", "adapters", b.Grid && b.Adapters > 0},
		{"classify", "kernels, --grid, --rate, --clients or --schema", b.Classify && (b.Kernels || b.Grid || b.lasts() || b.Schema != "")},
		{"many", "classify, --url, --kernels, --grid, --adapters, --rate or --clients", b.Many > 0 && (b.Classify || b.URL != "" || b.Kernels || b.Grid || b.Adapters > 0 || b.lasts())},
		{"text", "classify, --many, --url, --kernels, --grid, --adapters, --rate or --clients", b.Text != "" && (b.Classify || b.Many > 0 || b.URL != "" || b.Kernels || b.Grid || b.Adapters > 0 || b.lasts())},
	} {
		if pair.both {
			wrong.add("--%s: cannot be measured together with --%s", pair.one, pair.other)
		}
	}
	if b.given["rate"] && !(b.Rate > 0 && b.Rate <= 1e6) {
		wrong.add("--rate: %v is not above 0 and up to 1000000", b.Rate)
	}
	if b.given["clients"] && b.Clients < 1 {
		wrong.add("--clients: %d is below 1", b.Clients)
	}
	if !(b.Zipf >= 0 && b.Zipf <= 1e6) {
		wrong.add("--zipf: %v is not from 0 to 1000000", b.Zipf)
	}
	if b.Resident < 0 {
		wrong.add("--resident: off is no share of the adapters")
	}
	for name, v := range map[string]time.Duration{"ttft": b.TTFT, "tbt": b.TBT} {
		if v < 0 {
			wrong.add("--%s: %s is below 0", name, v)
		}
	}
	if b.Duration <= 0 {
		wrong.add("--duration: it has to be above 0")
	}
}

// precision is what adapters are held in; validate has seen to it that there is one.
func (b *benchCommand) precision() adapters.Precision {
	p, _ := adapters.ParsePrecision(b.AdapterPrecision)
	return p
}

// source is what the base is called in the report.
func (b *benchCommand) source() string {
	if b.Synthetic != "" {
		return "synthetic " + b.Synthetic
	}
	return b.Base
}

// Run measures what the flags ask for and reports it once.
func (b *benchCommand) Run(ctx context.Context, c console) (err error) {
	r := report{Version: version, Threads: b.threads()}
	if b.URL == "" {
		r.Activations = b.Activations
	}
	if b.Synthetic != "" {
		path, remove, wrong := b.synthesise()
		if wrong != nil {
			return wrong
		}
		defer func() { err = errors.Join(err, remove()) }()
		b.Base = path
	}
	switch {
	case b.Classify:
		err = b.measureClassify(ctx, c, &r)
	case b.Many > 0:
		err = b.measureMany(ctx, c, &r)
	case b.URL != "":
		err = b.measureServer(ctx, &r)
	case b.Kernels:
		err = b.measureKernels(ctx, c, &r)
	case b.Text != "":
		err = b.measureText(ctx, c, &r)
	case b.Grid:
		err = b.measureGrid(ctx, c, &r)
	case b.lasts():
		err = b.sustainEngine(ctx, c, &r)
	case len(b.Threads) > 1:
		err = b.measureScaling(ctx, c, &r)
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

// answers tells whether answers are generated: an encoder has none, and neither have
// what classifies, a text's perplexity and the kernels.
func (b *benchCommand) answers(opened *base) bool {
	return opened.generates() && !b.Classify && b.Many == 0 && b.Text == "" && !b.Kernels
}

// refuseOfAnswers names flags that nothing reads of an encoder.
func (b *benchCommand) refuseOfAnswers() error {
	var wrong []error
	for _, name := range []string{"kv-type", "prompt-share", "generate"} {
		if b.given[name] {
			wrong = append(wrong, fmt.Errorf("--%s: %s encodes texts and generates none", name, b.source()))
		}
	}
	return errors.Join(wrong...)
}

// fit cuts the lengths that are not given to the base's context: of a prompt and an
// answer together or, alone, of each beside one token; without an answer, of a prompt.
func (b *benchCommand) fit(own int, alone, answers bool) (length int, err error) {
	if !answers {
		b.Prompt = b.promptTokens(min(512, own))
		if b.Prompt > own {
			return 0, fmt.Errorf("--prompt: a text of %d tokens: %s has a context of %d", b.Prompt, b.Base, own)
		}
		return b.Prompt, nil
	}
	switch {
	case b.given["generate"]:
	case alone:
		b.Generate = max(1, min(b.Generate, own-2))
	case b.Prompt > 0:
		b.Generate = max(1, min(b.Generate, own-b.Prompt))
	default:
		b.Generate = max(1, min(b.Generate, own/2))
	}
	if alone {
		b.Prompt = b.promptTokens(max(1, min(512, own-1)))
		length = max(b.Prompt, b.Generate+1) + 1
	} else {
		b.Prompt = b.promptTokens(max(1, min(64, own-b.Generate)))
		length = b.Prompt + b.Generate
	}
	if length > own {
		return 0, fmt.Errorf("--prompt and --generate ask for %d tokens: %s has a context of %d", length, b.Base, own)
	}
	return length, nil
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
