package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve"
)

// Run serves until ctx ends, then lets running requests finish.
func (c *serveCommand) Run(ctx context.Context, con console) (err error) {
	level := new(slog.LevelVar)
	at, err := levelOf(c.LogLevel)
	if err != nil {
		return err
	}
	level.Set(at)
	log := newLog(con.err, c.LogFormat, level)
	listener, err := net.Listen("tcp", c.Addr) // first: a taken port is known before a model is read
	if err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	defer func() { _ = listener.Close() }() // closed already, if it served
	var admin net.Listener                  // nil: none
	if c.AdminAddr != "" {
		if admin, err = net.Listen("tcp", c.AdminAddr); err != nil {
			return fmt.Errorf("--admin-addr: %w", err)
		}
		defer func() { _ = admin.Close() }()
	}
	audit, err := openAudit(c.AuditLog, log)
	if err != nil {
		return err
	}
	defer audit.close()
	tracer, endTracing, err := tracing(ctx, con.env, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := within5Seconds(endTracing); err != nil {
			log.Warn("the last traces are lost", "error", err)
		}
	}()
	opened := time.Now()
	b, err := openBase(ctx, c.uri(), c.options(c.Context), con)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.source.Close()) }()
	for _, w := range b.source.Warnings {
		log.Warn(w)
	}
	defer c.lodge(log)()
	b.names, b.strict = append([]string{c.baseName()}, b.names...), bool(c.StrictBase)
	log.Debug("base opened", "took", time.Since(opened).Round(time.Millisecond))

	metrics := serve.NewMetrics(c.baseName())
	pool := kernels.NewPool(threads(c.Threads))
	defer pool.Close()
	if block := models.BlockBytes(b.model.Config()); b.generates() && int(c.KVCache) < block {
		return fmt.Errorf("--kv-cache: %s is too little: one block of %d tokens takes %s", c.KVCache, kernels.BlockLen, bytesText(int64(block)))
	}
	var (
		known   *catalogue.Catalogue
		serving atomic.Pointer[serve.Server] // nil until it is made
	)
	account, err := c.account(os.DirFS("/"), b, bytesOf(&known), log)
	if err != nil {
		return err
	}
	b.tokenizers.Reserve = reserveTokenizer(account)
	elsewhere := c.remotes(b, con, log)
	known, err = catalogue.New(b.load, catalogue.Options{
		Dir: c.Adapters, Aliases: c.Aliases, Bytes: int(c.AdapterBudget), Loads: c.AdapterLoads,
		Schemes: elsewhere.schemes(), Builtin: c.builtinURIs(), Size: b.size, Reserve: reserve(account), Inspect: b.inspect, Compose: catalogue.ComposeFor(b.model),
		Owner:    func(name string) (string, int) { return serving.Load().Quota(name) },
		Observer: metrics, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, known.Close()) }()
	if own := b.model.Config().Context; c.Context > own {
		return fmt.Errorf("--context: %d is longer than the model's own %d", c.Context, own)
	}
	if _, err := known.Lookup(c.baseName()); err == nil {
		log.Warn("an adapter has the base's name: requests by that name are refused", "name", c.baseName())
	}
	options := c.engineOptions()
	options.Observer, options.Log, options.Largest = metrics, log, b.source.Largest
	engine, err := runtime.New(b.model, b.decoder, pool, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, within5Seconds(engine.Close)) }()
	ring, err := c.keys()
	if err != nil {
		return err
	}
	for _, w := range ring.warnings {
		log.Warn(w)
	}
	if showsKey(con.args) {
		log.Warn("an API key on the command line shows in the list of processes: put it into PEFT_SERVE_API_KEY, --api-key-file or --keys")
	}
	config := c.serverConfig(ring.set)
	config.Log, config.Audit, config.Sampling, config.Examples = log, audit.logger(), b.sampling, c.builtinExamples()
	server, err := serve.New(serve.Parts{
		Engine: serve.RuntimeEngine(engine), Catalogue: known, Base: b.model.Config(),
		Tokenizer: b.text, Chat: b.chat, Metrics: metrics, Tracer: tracer, Memory: account,
	}, config)
	if err != nil {
		return err
	}
	serving.Store(server)
	if err := c.fetchNamed(ctx, known, elsewhere); err != nil {
		return err
	}
	if err := pin(ctx, known, c.Pin); err != nil { // what a kill has left half done is mended by now
		return err
	}
	c.banner(con, log, listener.Addr(), b, ring.set != nil, engine, known)
	reloads := &reloader{console: con, command: c, ring: ring, server: server, level: level, log: log, others: []other{
		{"certificates", func() (changes string, err error) {
			if changed, err := server.ReloadCertificates(); err != nil || !changed {
				return "", err
			}
			return "read anew", nil
		}},
		{"audit log", audit.reopen},
	}}
	defer reloads.start(ctx)()
	return c.serve(ctx, server, listener, admin, log)
}

// serve answers on one address or two until ctx ends.
func (c *serveCommand) serve(ctx context.Context, server *serve.Server, listener, admin net.Listener, log *slog.Logger) error {
	served, administered := make(chan error, 1), make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if admin != nil {
		log.Info("admin address", "address", reachable(admin.Addr(), false))
		go func() { administered <- server.ServeAdmin(admin) }()
	}
	select {
	case err := <-served:
		return err
	case err := <-administered:
		return fmt.Errorf("--admin-addr: %w", err)
	case <-ctx.Done():
	}
	log.Info("shutting down: requests that run may finish", "within", c.Drain)
	deadline, cancel := context.WithTimeout(context.Background(), c.Drain)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		log.Warn("shutdown", "error", err)
	}
	err := <-served
	log.Info("stopped")
	return err
}

// within5Seconds ends something that may have to wait for others.
func within5Seconds(end func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return end(ctx)
}

func pin(ctx context.Context, known *catalogue.Catalogue, names []string) error {
	var wrong []error
	for _, name := range names {
		if err := known.Pin(ctx, name); err != nil {
			wrong = append(wrong, fmt.Errorf("--pin: %w", catalogue.OfAdapter(name, err)))
		}
	}
	return errors.Join(wrong...)
}
