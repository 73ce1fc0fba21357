package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models"
	engine "github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve"
)

// processBytes is what a server takes that does nothing: its code, the Go runtime
// and what it keeps for connections and metrics.
const processBytes = 64 << 20

// account holds what this server may come to take against what it may take, and
// tells the Go runtime, unless the operator has, to keep within that. root is the
// file system; adapters tells what those in memory take.
func (c *serveCommand) account(root fs.FS, b *base, adaptersUsed func() int64, log *slog.Logger) (*memory.Account, error) {
	goLimit := debug.SetMemoryLimit(-1)
	limit := memory.Detect(root, goLimit)
	if c.MemoryLimit > 0 {
		limit = memory.Fixed(root, int64(c.MemoryLimit), "--memory-limit")
	}
	config := b.model.Config()
	parts := []memory.Part{
		{Name: "weights, mapped", Bytes: int64(config.WeightBytes), Set: "--base", Mapped: true},
		{Name: "weights, laid out anew", Bytes: c.laidBytes(b.model), Set: "--activations"},
		{Name: "steps of the engine", Bytes: c.stepBytes(b.model), Set: "--step-tokens, --slots"},
		{Name: "tokenizer", Bytes: int64(b.text.Bytes())},
		{Name: "process", Bytes: processBytes},
	}
	room := int64(math.MaxInt64)
	if limit.Bytes > 0 {
		room = limit.Bytes - 2*memory.Spare
		for _, p := range parts {
			room -= p.Bytes
		}
	}
	flexible, less, err := c.settle(b, room, adaptersUsed)
	if err != nil {
		return nil, err
	}
	account, err := memory.New(limit, append(parts, flexible...)...)
	if err != nil {
		return nil, err
	}
	if less {
		log.Info("there is little memory: what is not set is smaller than usual", "kv-cache", c.KVCache, "adapter-budget", c.AdapterBudget, "uploads", c.Uploads, "grammar-cache", c.GrammarCache)
	}
	if heap := account.HeapLimit(); heap > 0 && goLimit == math.MaxInt64 {
		debug.SetMemoryLimit(heap)
	}
	log.Debug("memory", "limit", bytesText(limit.Bytes), "from", limit.From)
	return account, nil
}

// laidBytes is what rounding activations takes.
func (r *reading) laidBytes(m models.Model) int64 {
	if r.activations() == models.ActivationsF32 {
		return 0
	}
	return int64(models.Int8Bytes(m))
}

// What a server takes for keys and values, adapters, uploads and schemas unless that is set,
// or there is no room for it.
const (
	usualKeys     = 512 << 20
	usualAdapters = 1 << 30
	usualUploads  = 4
	usualGrammars = 32 << 20
)

// settle chooses the sizes that are not set by the room that there is beside those
// that are, and returns the parts of all of them. less: some are smaller than usual.
func (c *serveCommand) settle(b *base, room int64, adaptersUsed func() int64) (parts []memory.Part, less bool, err error) {
	var wants []memory.Want
	var takes []func(bytes int64)
	part := func(p memory.Part, w memory.Want, take func(bytes int64)) {
		at := len(parts)
		if parts = append(parts, p); p.Bytes > 0 {
			room -= p.Bytes
			return
		}
		wants = append(wants, w)
		takes = append(takes, func(bytes int64) { parts[at].Bytes = bytes; take(bytes) })
	}
	if !b.generates() && kvFormat(c.KVType) != kernels.F32 {
		return nil, false, fmt.Errorf("--kv-type: %s encodes texts, and keeps no keys and values", c.baseName())
	}
	if b.generates() { // an encoder's are a part of its steps
		block := int64(models.BlockBytes(b.model.Config(), kvFormat(c.KVType)))
		least := block * int64(max(1, (c.Context+kernels.BlockLen-1)/kernels.BlockLen)) // what --context asks for
		if c.KVCache > 0 && int64(c.KVCache) < block {
			return nil, false, fmt.Errorf("--kv-cache: %s is too little: one block of %d tokens takes %s", c.KVCache, kernels.BlockLen, bytesText(block))
		}
		part(memory.Part{Name: "keys and values", Bytes: int64(c.KVCache), Set: "--kv-cache"},
			memory.Want{Usual: max(usualKeys, least), Least: least}, func(n int64) { c.KVCache = size(n) })
		grammars := (serve.LeastGrammars(b.text, b.model.Config().Vocabulary) + 1<<20 - 1) &^ (1<<20 - 1)
		if c.GrammarCache > 0 && int64(c.GrammarCache) < grammars {
			return nil, false, fmt.Errorf("--grammar-cache: %s is too little: the texts of this base's tokens and some schemas take %s", bytesText(int64(c.GrammarCache)), bytesText(grammars))
		}
		part(memory.Part{Name: "schemas of answers", Bytes: int64(c.GrammarCache), Set: "--grammar-cache"},
			memory.Want{Usual: max(usualGrammars, grammars), Least: grammars}, func(n int64) { c.GrammarCache = size(n) })
	}
	part(memory.Part{Name: "adapters in memory", Bytes: int64(c.AdapterBudget), Set: "--adapter-budget", Used: adaptersUsed},
		memory.Want{Usual: usualAdapters, Least: 1 << 20}, func(n int64) { c.AdapterBudget = size(n) })
	if c.Adapters != "" {
		part(memory.Part{Name: "tokenizers of adapters"},
			memory.Want{Usual: adapters.TokenizerBytes}, func(n int64) { b.tokenizers.Bytes = int(n) })
		if !c.ReadOnly {
			part(memory.Part{Name: "uploads", Bytes: int64(c.Uploads) * serve.UploadBytes, Set: "--uploads"},
				memory.Want{Usual: usualUploads * serve.UploadBytes, Least: serve.UploadBytes}, func(n int64) { c.Uploads = int(n / serve.UploadBytes) })
		}
	}
	for i, n := range memory.Divide(room, wants...) {
		takes[i](n)
		less = less || n < wants[i].Usual
	}
	return parts, less, nil
}

// stepBytes is what the largest step takes, as the model's own forward pass tells:
// its activations, and the logits of every slot with what sampling makes of them or,
// of an encoder, the keys and values of a block; the scores of a head; and what products
// pack.
func (c *serveCommand) stepBytes(m models.Model) int64 {
	config := m.Config()
	beside := int64(engine.HeadRows)*int64(c.mostClasses(config))*4 + c.packedBytes(m)
	if config.Architecture.Does(models.Generate) {
		peak := peakOf(m, []int{min(c.StepTokens, config.Context)})
		const perLogit = 4 + 12 // sorted, with its token
		return beside + int64(peak.Kept+peak.Workspace) + int64(c.Slots)*int64(config.Vocabulary)*perLogit
	}
	// There is no cache, and no choosing of tokens. Texts fill a step, or one is longer.
	most := max(peakOf(m, mostBlocks(c.StepTokens, config.Context, c.Slots)).Total(), peakOf(m, []int{config.Context}).Total())
	for long := 2; long <= min(c.StepTokens, config.Context); long++ { // of some the work is by how far texts reach
		most = max(most, peakOf(m, slices.Repeat([]int{long}, min(c.StepTokens/long, c.Slots))).Total())
	}
	kept := 4 * c.StepTokens * config.Hidden // of texts that several adapters answer for
	return beside + int64(most+kept)
}

// packedBytes is what products of the largest step pack: of all of its rows, or, of an
// encoder, those of a text that is longer; and of weights of one layer, as wide as each
// other, which may be multiplied at once.
func (c *serveCommand) packedBytes(m models.Model) int64 {
	rows, config := c.StepTokens, m.Config()
	if !config.Architecture.Does(models.Generate) {
		rows = max(rows, config.Context)
	}
	together := map[[2]int][]kernels.Weight{} // by layer and columns
	for _, s := range m.Sites() {
		if s.Kind == models.LinearSite {
			at := [2]int{s.Layer, s.Linear.W.Cols}
			together[at] = append(together[at], s.Linear.W)
		}
	}
	var ofRows, ofWeights int
	for _, weights := range together {
		x, w := kernels.PackedBytes(rows, weights...)
		ofRows, ofWeights = max(ofRows, x), max(ofWeights, w)
	}
	return int64(ofRows + ofWeights)
}

// mostClasses is the most that a head may tell apart: the base's own, or one that an
// adapter brings.
func (c *serveCommand) mostClasses(config *models.Config) int {
	switch {
	case c.Adapters != "" && (config.Architecture.Does(models.Classify) || config.Architecture.Does(models.Tag)):
		return models.MaxClasses
	case config.Classes != nil:
		return len(config.Classes.Names)
	}
	return 0
}

// peakOf is what a pass over texts of so many tokens takes.
func peakOf(m models.Model, texts []int) models.Live {
	var batch models.Batch
	for _, n := range texts {
		batch.AddText(make([]int32, n), nil, 0, nil)
	}
	pass := models.NewMeasure()
	m.Forward(pass, &batch, nil)
	_, peak := pass.Live()
	return peak
}

// mostBlocks are texts of so many tokens together that take the most blocks of keys
// and values, of which a text of one token takes a whole one: as many of those as
// there may be.
func mostBlocks(tokens, longest, most int) (texts []int) {
	for short := most - (tokens+longest-1)/longest; short > 0 && tokens > 1; short-- {
		texts, tokens = append(texts, 1), tokens-1
	}
	for ; tokens > 0; tokens -= longest {
		texts = append(texts, min(tokens, longest))
	}
	return texts
}

// reserve sets memory aside that reading an adapter takes.
func reserve(account *memory.Account) func(context.Context, string) (func(), error) {
	return func(ctx context.Context, dir string) (func(), error) {
		return account.Take(ctx, memory.Reading, int64(adapters.ReadingBytes(dir)))
	}
}

// tokenizerWait is how long a tokenizer waits for the memory to be built in.
const tokenizerWait = 30 * time.Second

// reserveTokenizer sets memory aside that building a tokenizer takes.
func reserveTokenizer(account *memory.Account) func(bytes int) (func(), error) {
	return func(bytes int) (func(), error) {
		ctx, cancel := context.WithTimeout(context.Background(), tokenizerWait)
		defer cancel()
		return account.Take(ctx, memory.Reading, int64(bytes))
	}
}

// bytesOf is what a catalogue's adapters take, once there is one.
func bytesOf(known **catalogue.Catalogue) func() int64 {
	return func() int64 {
		if *known == nil {
			return 0
		}
		used, _ := (*known).Bytes()
		return int64(used)
	}
}
