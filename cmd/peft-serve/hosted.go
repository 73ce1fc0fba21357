package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve"
)

// hosted is a base with its adapters in an engine.
type hosted struct {
	base      *base
	known     *catalogue.Catalogue
	engine    *runtime.Engine
	metrics   *serve.Metrics
	account   *memory.Account
	elsewhere *remotes
	serving   atomic.Pointer[serve.Server] // nil until it is made
	closers   []func() error
}

// open opens what the settings name. What it returns is to be closed.
func (c *serveCommand) open(ctx context.Context, con console, log *slog.Logger) (_ *hosted, err error) {
	h := &hosted{}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	opened := time.Now()
	b, err := openBase(ctx, c.uri(), c.options(c.Context), con)
	if err != nil {
		return nil, err
	}
	h.base = b
	h.closes(b.source.Close)
	if err := b.openRecipe(c.Pooling, log); err != nil {
		return nil, err
	}
	for _, w := range b.source.Warnings {
		log.Warn(w)
	}
	b.names, b.strict = append([]string{c.baseName()}, b.names...), bool(c.StrictBase)
	b.precision = c.precision()
	log.Debug("base opened", "took", time.Since(opened).Round(time.Millisecond))

	h.metrics = serve.NewMetrics(c.baseName())
	pool := kernels.NewPool(threads(c.Threads))
	h.closes(func() error { pool.Close(); return nil })
	h.account, err = c.account(os.DirFS("/"), b, bytesOf(&h.known), log)
	if err != nil {
		return nil, err
	}
	if err := c.round(b, pool); err != nil {
		return nil, err
	}
	b.tokenizers.Reserve = reserveTokenizer(h.account)
	h.elsewhere = c.remotes(b, con, log)
	h.known, err = catalogue.New(b.load, catalogue.Options{
		Dir: c.Adapters, Taken: c.baseName(), Aliases: c.Aliases, Bytes: int(c.AdapterBudget), Loads: c.AdapterLoads,
		Schemes: h.elsewhere.schemes(), Builtin: c.builtinURIs(), Size: b.size, Reserve: reserve(h.account), Inspect: b.inspect, Compose: catalogue.ComposeFor(b.model),
		Owner:    func(name string) (string, int) { return h.serving.Load().Quota(name) },
		Observer: h.metrics, Log: log,
	})
	if err != nil {
		return nil, err
	}
	h.closes(h.known.Close)
	if own := b.model.Config().Context; c.Context > own {
		return nil, fmt.Errorf("--context: %d is longer than the model's own %d", c.Context, own)
	}
	options := c.engineOptions()
	options.Observer, options.Log, options.Largest = h.metrics, log, b.source.Largest
	if h.engine, err = runtime.New(b.model, b.decoder, pool, options); err != nil {
		return nil, err
	}
	h.closes(func() error { return within5Seconds(h.engine.Close) })
	return h, nil
}

// server makes the server of what is hosted.
func (h *hosted) server(tracer trace.Tracer, config serve.Config) (*serve.Server, error) {
	config.Sampling = h.base.sampling
	server, err := serve.New(serve.Parts{
		Engine: serve.RuntimeEngine(h.engine), Catalogue: h.known, Base: h.base.model.Config(),
		Recipe: h.base.recipe, RecipeFault: h.base.recipeFault,
		Tokenizer: h.base.text, Chat: h.base.chat, Metrics: h.metrics, Tracer: tracer, Memory: h.account,
	}, config)
	if err == nil {
		h.serving.Store(server)
	}
	return server, err
}

func (h *hosted) closes(close func() error) { h.closers = append(h.closers, close) }

// close closes what has been opened, the last first.
func (h *hosted) close() error {
	var wrong []error
	for i := len(h.closers) - 1; i >= 0; i-- {
		wrong = append(wrong, h.closers[i]())
	}
	return errors.Join(wrong...)
}
