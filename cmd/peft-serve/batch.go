package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/serve"
	"github.com/peft-serve/peft-serve/serve/batch"
)

// batchCommand answers a file of requests.
type batchCommand struct {
	hosting
	asking
	logging

	Input     string   `group:"batch" local:"" placeholder:"FILE" help:"Requests, one a line, in OpenAI's batch format: custom_id, method, url, body"`
	Output    string   `group:"batch" local:"" placeholder:"FILE" help:"Where the answers go, one a line, in the order of the requests; it is there once all of them are"`
	Shards    int      `group:"batch" local:"" placeholder:"N" default:"1" help:"Parts that the input is answered in, each by a process of its own and into a file of its own, named -00003-of-00008 for instance"`
	Shard     *int     `group:"batch" local:"" placeholder:"I" help:"Which of them, from 0; by default the variable JOB_COMPLETION_INDEX, as an Indexed Job of Kubernetes sets it"`
	Overwrite switched `group:"batch" local:"" help:"Replace an output that is of other requests, or of another base"`
}

// completionIndex is the variable by which a Pod of an Indexed Job knows its part.
const completionIndex = "JOB_COMPLETION_INDEX"

func (b *batchCommand) validate(wrong *faults) {
	b.hosting.validate(wrong)
	b.asking.validate(wrong)
	b.logging.validate(wrong)
	if b.Input == "" {
		wrong.add("--input: name the file of requests")
	}
	if b.Output == "" {
		wrong.add("--output: name the file that answers go to")
	}
	atLeast(wrong, "shards", b.Shards, 1)
	if b.Shard != nil && (*b.Shard < 0 || *b.Shard >= b.Shards) {
		wrong.add("--shard: %d is none of --shards %d, which count from 0", *b.Shard, b.Shards)
	}
}

// shard is the part that this process answers.
func (b *batchCommand) shard(env []string) (int, error) {
	if b.Shard != nil {
		return *b.Shard, nil
	}
	text, set := variable(env, completionIndex)
	switch {
	case !set && b.Shards == 1:
		return 0, nil
	case !set:
		return 0, fmt.Errorf("--shard: say which of the %d shards is to be answered, or set %s", b.Shards, completionIndex)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n >= b.Shards {
		return 0, fmt.Errorf("%s: %q is none of --shards %d, which count from 0", completionIndex, text, b.Shards)
	}
	return n, nil
}

// variable is what an environment says of a name.
func variable(env []string, name string) (value string, set bool) {
	for _, pair := range env {
		if value, set := strings.CutPrefix(pair, name+"="); set {
			return value, true
		}
	}
	return "", false
}

// The exit statuses of a batch that come to the same when it is run again: all rows
// are answered, some with an error; the input, or what is there of its answers, has
// changed, or is none.
const (
	statusFailed = 3
	statusFiles  = 4
)

// Run answers what an earlier run has left.
func (b *batchCommand) Run(ctx context.Context, con console) (err error) {
	defer func() {
		var files *batch.FilesError
		if errors.As(err, &files) {
			err = &statusError{err, statusFiles}
		}
	}()
	level, err := levelOf(b.LogLevel)
	if err != nil {
		return err
	}
	log := newLog(con.err, b.LogFormat, level)
	part, err := b.shard(con.env)
	if err != nil {
		return &statusError{err, statusUsage}
	}
	shard, err := batch.Open(batch.Options{
		Input: b.Input, Output: b.Output, Shard: part, Shards: b.Shards, Replace: bool(b.Overwrite), RowLimit: int64(b.BodyLimit) + rowFrame,
		By:      b.by(),
		Kernels: kernels.Name(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shard.Close()) }()
	if shard.Warning != "" {
		log.Warn(shard.Warning)
	}
	if shard.Done > 0 {
		log.Info("going on", "output", shard.Output, "committed", shard.Done, "rows", shard.Rows)
	}
	if !shard.Complete() {
		if err := b.answer(ctx, con, log, shard); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted: %d of %d rows are answered; the same command goes on: %w", shard.Done, shard.Rows, err)
			}
			return err
		}
	}
	log.Info("answered", "output", shard.Output, "rows", shard.Rows, "failed", shard.Failed)
	if shard.Failed > 0 {
		return &statusError{fmt.Errorf("%d of %d rows were answered with an error", shard.Failed, shard.Rows), statusFailed}
	}
	return nil
}

// by is what answers depend on beside their rows.
func (b *batchCommand) by() map[string]string {
	by := map[string]string{"base": b.uri(), "name": b.baseName(), "pooling": b.Pooling, "tool-parser": b.ToolParser, "ignore-config-key": strings.Join(b.IgnoreConfigKey, ",")}
	for name, value := range map[string]int{"context": b.Context, "max-tokens-default": b.MaxTokensDefault, "max-tokens-limit": b.MaxTokensLimit} {
		by[name] = strconv.Itoa(value)
	}
	if b.activations() != models.ActivationsF32 {
		by["activations"] = b.Activations
	}
	if kvFormat(b.KVType) != kernels.F32 {
		by["kv-type"] = b.KVType
	}
	if b.precision() != adapters.AsStored {
		by["adapter-precision"] = b.AdapterPrecision
	}
	if b.SlidingWindow != nil {
		by["sliding-window"] = strconv.Itoa(*b.SlidingWindow)
	}
	return by
}

// rowFrame is what a row has around its body, at most.
const rowFrame = 64 << 10

// answer answers the rows that are left by a server that listens nowhere.
func (b *batchCommand) answer(ctx context.Context, con console, log *slog.Logger, shard *batch.Shard) (err error) {
	atOnce := 2 * b.Slots // while some run, others are read, and wait
	host := &serveCommand{hosting: b.hosting, Queue: 2 * atOnce, ReadOnly: true}
	h, err := host.open(ctx, con, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	server, err := h.server(nil, serve.Config{
		Name: b.baseName(), Source: b.uri(), Version: version, ReadOnly: true, ToolParser: b.ToolParser, Log: log, AccessLog: float64(shareOff), Grammars: int(host.GrammarCache),
		Limits: serve.Limits{BodyLimit: int(b.BodyLimit), MaxTokensDefault: b.MaxTokensDefault, MaxTokensLimit: b.MaxTokensLimit},
	})
	if err != nil {
		return err
	}
	if err := host.fetchNamed(ctx, h.known, h.elsewhere); err != nil {
		return err
	}
	giveUp := func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = server.Shutdown(now) // what runs is asked again by who goes on
	}
	defer giveUp()
	defer context.AfterFunc(ctx, giveUp)()
	show := newRowsProgress(con.err, log, shard)
	defer show.end()
	return shard.Run(ctx, batch.Work{Ask: server.Row, AtOnce: atOnce, Committed: show.committed})
}
