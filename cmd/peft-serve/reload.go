package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/peft-serve/peft-serve/serve"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// reloaded are the settings that SIGHUP has read anew, beside the files of --keys:
// a change of any other needs a restart.
var reloaded = []string{
	"api-key", "api-key-file", "body-limit", "upload-limit", "request-timeout", "max-tokens-default", "max-tokens-limit", "log-level",
}

// keysEvery is how often the files of --keys are looked at.
const keysEvery = time.Second

// reloader brings changed settings to a server that runs. Whatever cannot be
// used leaves what stands.
type reloader struct {
	console console
	command *serveCommand // as it stands
	ring    keyring
	server  *serve.Server
	level   *slog.LevelVar
	log     *slog.Logger
	// Others are what else SIGHUP reads anew, each with its name and what it says
	// of a change.
	others []other
}

type other struct {
	name   string
	reload func() (changes string, err error)
}

// start reloads at every SIGHUP, and keys whenever their files change, until stop
// is called, which waits for its end.
func (r *reloader) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangups, changed := make(chan os.Signal, 1), make(chan keysRead)
	signal.Notify(hangups, syscall.SIGHUP)
	var running sync.WaitGroup
	running.Go(func() { r.run(ctx, hangups, changed) })
	if r.command.Keys != "" {
		path, seen := r.command.Keys, r.ring.files
		running.Go(func() {
			keys.Watch(ctx, path, keysEvery, seen, func(files keys.Files, err error) {
				select {
				case changed <- keysRead{files, err}:
				case <-ctx.Done():
				}
			})
		})
	}
	return func() {
		signal.Stop(hangups)
		cancel()
		running.Wait()
	}
}

// keysRead is what has been read of changed files.
type keysRead struct {
	files keys.Files
	err   error
}

func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal, changed <-chan keysRead) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			r.reload()
		case now := <-changed:
			r.takeKeys(now.files, now.err)
		}
	}
}

// takeKeys has the keys of changed files hold.
func (r *reloader) takeKeys(files keys.Files, err error) {
	if err == nil && files.Sum == r.ring.files.Sum {
		return // SIGHUP has had them read
	}
	ring := keyring{}
	if err == nil {
		ring, err = r.command.keysWith(files)
	}
	var changes string
	if err == nil {
		changes, err = r.server.Reload(ring.set, r.command.limits())
	}
	if err != nil {
		r.log.Error("keys stay as they were: their files cannot be used", "path", r.command.Keys, "error", err)
		return
	}
	r.ring = ring
	r.tell(changes, ring.warnings)
}

// reload reads all settings anew, from where they were read at the start.
func (r *reloader) reload() {
	var words []string
	warnings, err := r.settings(&words)
	if err != nil {
		r.log.Error("settings stay as they were: what SIGHUP had read cannot be used", "error", err)
	}
	for _, o := range r.others {
		changes, err := o.reload()
		switch {
		case err != nil:
			r.log.Error(o.name+": what was there stays, since SIGHUP had something read that cannot be used", "error", err)
		case changes != "":
			words = append(words, o.name+": "+changes)
		}
	}
	if err == nil || len(words) > 0 {
		r.tell(strings.Join(words, "; "), warnings)
	}
}

func (r *reloader) settings(words *[]string) (warnings []string, err error) {
	parsed, err := parse(r.console.args, r.console)
	if err != nil {
		return nil, err
	}
	next, ok := parsed.(*serveCommand)
	if !ok {
		return nil, fmt.Errorf("the command line is no longer that of a server")
	}
	changed := r.command.differs(next)
	if fixed := slices.DeleteFunc(slices.Clone(changed), func(name string) bool { return slices.Contains(reloaded, name) }); len(fixed) > 0 {
		warnings = append(warnings, "changed, and needs a restart: "+strings.Join(fixed, ", "))
	}
	now := r.command.standing(next)
	ring, err := now.keys()
	if err != nil {
		return nil, err
	}
	changes, err := r.server.Reload(ring.set, now.limits())
	if err != nil {
		return nil, err
	}
	if changes != "" {
		*words = append(*words, changes)
	}
	if now.LogLevel != r.command.LogLevel {
		*words = append(*words, fmt.Sprintf("log-level %s → %s", r.command.LogLevel, now.LogLevel))
	}
	level, _ := levelOf(now.LogLevel) // parse has checked it
	r.level.Set(level)
	r.command, r.ring = now, ring
	return append(warnings, ring.warnings...), nil
}

func (r *reloader) tell(changes string, warnings []string) {
	for _, w := range warnings {
		r.log.Warn(w)
	}
	if changes == "" {
		changes = "nothing"
	}
	r.log.Info("reloaded", "changed", changes)
}

// differs are the names of the settings that next has otherwise.
func (c *serveCommand) differs(next *serveCommand) (names []string) {
	for name, value := range c.values {
		if !reflect.DeepEqual(value, next.values[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// standing are the settings that hold once next is reloaded.
func (c *serveCommand) standing(next *serveCommand) *serveCommand {
	now := *c
	now.APIKey, now.APIKeyFile = next.APIKey, next.APIKeyFile
	now.BodyLimit, now.UploadLimit, now.RequestTimeout = next.BodyLimit, next.UploadLimit, next.RequestTimeout
	now.MaxTokensDefault, now.MaxTokensLimit = next.MaxTokensDefault, next.MaxTokensLimit
	now.LogLevel = next.LogLevel
	now.values = maps.Clone(c.values)
	for _, name := range reloaded {
		now.values[name] = next.values[name]
	}
	return &now
}
