package main

import (
	"context"
	"io/fs"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models"
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
	config, keys, grammars := b.model.Config(), int64(c.KVCache), int64(c.GrammarCache)
	if !b.generates() {
		keys, grammars = 0, 0 // keys of a step are a part of it
	}
	parts := []memory.Part{
		{Name: "weights, mapped", Bytes: int64(config.WeightBytes), Set: "--base", Mapped: true},
		{Name: "keys and values", Bytes: keys, Set: "--kv-cache"},
		{Name: "adapters in memory", Bytes: int64(c.AdapterBudget), Set: "--adapter-budget", Used: adaptersUsed},
		{Name: "steps of the engine", Bytes: c.stepBytes(b.model), Set: "--step-tokens, --slots"},
		{Name: "schemas of answers", Bytes: grammars, Set: "--grammar-cache"},
		{Name: "tokenizer", Bytes: int64(b.text.Bytes())},
		{Name: "process", Bytes: processBytes},
	}
	if c.Adapters != "" {
		parts = append(parts,
			memory.Part{Name: "tokenizers of adapters", Bytes: adapters.TokenizerBytes},
			memory.Part{Name: "uploads", Bytes: int64(c.Uploads) * serve.UploadBytes, Set: "--uploads"})
	}
	account, err := memory.New(limit, parts...)
	if err != nil {
		return nil, err
	}
	if heap := account.HeapLimit(); heap > 0 && goLimit == math.MaxInt64 {
		debug.SetMemoryLimit(heap)
	}
	log.Debug("memory", "limit", bytesText(limit.Bytes), "from", limit.From)
	return account, nil
}

// stepBytes is what the largest step takes, as the model's own forward pass tells:
// its activations, and the logits of every slot with what sampling makes of them or,
// of an encoder, the keys and values of a block.
func (c *serveCommand) stepBytes(m models.Model) int64 {
	config := m.Config()
	var batch models.Batch
	encodes := !config.Architecture.Does(models.Generate)
	rows := min(c.StepTokens, config.Context)
	if encodes { // texts that fill a step, or one that is longer
		rows = max(c.StepTokens, config.Context)
	}
	for rows > 0 {
		n := min(rows, config.Context)
		batch.AddText(make([]int32, n), nil, 0, nil)
		rows -= n
	}
	pass := models.NewMeasure()
	m.Forward(pass, &batch, nil)
	_, peak := pass.Live()
	made := int64(peak.Kept + peak.Workspace)
	if encodes { // there is no cache, and no choosing of tokens
		return made + int64(peak.KV)
	}
	const perLogit = 4 + 12 // sorted, with its token
	return made + int64(c.Slots)*int64(config.Vocabulary)*perLogit
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
