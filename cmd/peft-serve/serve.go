package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
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
		log.Info("admin address", "address", reachable(admin.Addr(), false))
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
	defer c.lodge(log)()
	h, err := c.open(ctx, con, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
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
	config.Log, config.Audit, config.Examples = log, audit.logger(), c.builtinExamples()
	server, err := h.server(tracer, config)
	if err != nil {
		return err
	}
	if err := c.fetchNamed(ctx, h.known, h.elsewhere); err != nil {
		return err
	}
	if err := pin(ctx, h.known, c.Pin); err != nil { // what a kill has left half done is mended by now
		return err
	}
	c.banner(con, log, listener.Addr(), h.base, ring.set != nil, h.engine, h.known)
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
	return c.serve(ctx, con, server, listener, admin, log)
}

// serve answers on one address or two until ctx ends.
func (c *serveCommand) serve(ctx context.Context, con console, server *serve.Server, listener, admin net.Listener, log *slog.Logger) error {
	served, administered := make(chan error, 1), make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if admin != nil {
		go func() { administered <- server.ServeAdmin(admin) }()
	}
	select {
	case err := <-served:
		return err
	case err := <-administered:
		return fmt.Errorf("--admin-addr: %w", err)
	case <-ctx.Done():
	}
	if c.DeregistrationDelay > 0 {
		log.Info("leaving: requests are still taken, and /ready says no", "for", c.DeregistrationDelay)
		server.Deregister()
		select {
		case err := <-served:
			return err
		case <-con.after(c.DeregistrationDelay):
		}
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
