package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
)

func init() { modes["kills"] = kills }

// kills publishes, replaces, rolls back, tries and deletes adapters as fast as it
// can, kills the server in the middle of it, starts another on the same folder and
// looks what is there: each name has the live version and the canary that were last
// acknowledged, or those that were under way, and answers with them; all versions
// that are kept are whole, and nothing else lies in the folder.
func kills(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("kills", flag.ContinueOnError)
	bin := flags.String("bin", "bin/peft-serve", "the server")
	root := flags.String("root", ".", "the repository's folder")
	count := flags.Int("n", 1000, "kills")
	names := flags.Int("names", 4, "adapters that change at once")
	seed := flags.Uint64("seed", 1, "of what is done and when it is killed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "hold-kills-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	base, folder, work := filepath.Join(scratch, "base"), filepath.Join(scratch, "adapters"), filepath.Join(scratch, "version")
	if err := errors.Join(layBase(*root, base), os.Mkdir(folder, 0o755), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	all, err := versions(*root, work, 64)
	if err != nil {
		return err
	}
	k := &killing{versions: all, folder: folder, random: rand.New(rand.NewPCG(*seed, 0)), out: out}
	for i := range *names {
		k.names = append(k.names, &changing{name: fmt.Sprintf("adapter-%d", i), random: rand.New(rand.NewPCG(*seed, uint64(i+1))), may: []meaning{{}}})
	}
	run := func() (*server, error) {
		return start(*bin, "--threads", "1", "--base", base, "--adapters", folder, "--keep-versions", "2")
	}
	for range *count {
		if err := k.once(ctx, run); err != nil {
			return err
		}
	}
	return k.end(ctx, run)
}

// killing is what has been found so far.
type killing struct {
	versions []version
	folder   string
	names    []*changing
	random   *rand.Rand
	out      io.Writer

	kills, torn, lost, strays int
	acknowledged              int64
}

// changing is a name that one client changes, one step after the other.
type changing struct {
	name   string
	random *rand.Rand
	may    []meaning // what it may mean

	refused error // what a living server has not done
}

// once starts a server, looks at what the last one has left, changes it and
// kills the server. Some are killed before they serve.
func (k *killing) once(ctx context.Context, run func() (*server, error)) error {
	s, err := run()
	if err != nil {
		return err
	}
	defer func() { k.kills++ }()
	if k.random.IntN(8) == 0 {
		time.Sleep(time.Duration(k.random.IntN(40)) * time.Millisecond)
		s.kill()
		return nil
	}
	if err := s.serving(ctx); err != nil {
		return err
	}
	if err := k.look(s); err != nil {
		s.kill()
		return err
	}
	k.change(s)
	for _, c := range k.names {
		if c.refused != nil {
			return c.refused
		}
	}
	return ctx.Err()
}

// change has every name change until the server is dead, which is some time
// after so many steps have been acknowledged.
func (k *killing) change(s *server) {
	var acknowledged atomic.Int64
	enough, reached := int64(k.random.IntN(3*len(k.names))), make(chan struct{})
	once := sync.OnceFunc(func() { close(reached) })
	if enough == 0 {
		once()
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(k.names)}}
	var clients sync.WaitGroup
	for _, c := range k.names {
		clients.Go(func() {
			for c.step(client, s.url, k.versions) {
				if acknowledged.Add(1) >= enough {
					once()
				}
			}
			once() // it has died by itself, or refuses
		})
	}
	<-reached
	time.Sleep(time.Duration(k.random.IntN(10_000)) * time.Microsecond)
	s.kill()
	clients.Wait()
	client.CloseIdleConnections()
	k.acknowledged += acknowledged.Load()
}

// look compares what a new server finds with what was acknowledged.
func (k *killing) look(s *server) error {
	if err := k.lookForStrays(); err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range k.names {
		found, torn, err := k.meaning(client, s.url, c.name)
		switch {
		case err != nil:
			return err
		case torn != "":
			k.torn++
			fmt.Fprintf(k.out, "torn: %s: %s\n", c.name, torn)
			continue
		case !slices.Contains(c.may, found):
			k.lost++
			fmt.Fprintf(k.out, "lost: %s is %v, not one of %v\n", c.name, found, c.may)
		}
		c.may = []meaning{found}
	}
	return nil
}

// lookForStrays looks for what belongs to no name.
func (k *killing) lookForStrays() error {
	own := func(name string) bool {
		return slices.ContainsFunc(k.names, func(c *changing) bool { return c.name == name })
	}
	for folder, belongs := range map[string]func(name string) bool{
		"": func(name string) bool {
			return own(name) || name == catalogue.VersionsFolder || name == catalogue.AliasesFolder
		},
		catalogue.VersionsFolder: own,
		catalogue.AliasesFolder:  func(name string) bool { return own(strings.TrimSuffix(name, ".yaml")) },
	} {
		entries, err := os.ReadDir(filepath.Join(k.folder, folder))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if !belongs(e.Name()) {
				k.strays++
				fmt.Fprintln(k.out, "stray:", filepath.Join(folder, e.Name()))
			}
		}
	}
	return nil
}

// end looks a last time, and tells.
func (k *killing) end(ctx context.Context, run func() (*server, error)) error {
	s, err := run()
	if err != nil {
		return err
	}
	if err := s.serving(ctx); err != nil {
		return err
	}
	if err := errors.Join(k.look(s), s.stop()); err != nil {
		return err
	}
	fmt.Fprintf(k.out, "kills %d torn %d lost %d strays %d (%d changes acknowledged)\n", k.kills, k.torn, k.lost, k.strays, k.acknowledged)
	if k.torn+k.lost+k.strays > 0 {
		return errors.New("it does not hold")
	}
	return nil
}
