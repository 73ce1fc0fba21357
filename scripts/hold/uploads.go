package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
)

func init() { modes["uploads"] = uploads }

// uploads has many clients upload what is made to take memory, the disk or time,
// one kind after the other, beside one client that asks for short completions and
// one that publishes a good adapter: both have to get through.
func uploads(ctx context.Context, args []string, out io.Writer) (err error) {
	var o uploading
	var only string
	flags := flag.NewFlagSet("uploads", flag.ContinueOnError)
	flags.StringVar(&o.root, "root", ".", "the repository's folder")
	flags.StringVar(&o.base, "base", "", "what is served; by default a tiny base")
	flags.StringVar(&o.good, "good", "", "the folder of the good adapter; by default a golden one")
	flags.StringVar(&o.limit, "memory-limit", "0", "the server's")
	flags.StringVar(&only, "kinds", "", "the kinds to try, parted by commas; by default all")
	flags.IntVar(&o.clients, "clients", 16, "clients that upload")
	flags.DurationVar(&o.length, "for", 6*time.Second, "how long each kind is tried")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hold-uploads-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := o.prepare(ctx, dir); err != nil {
		return err
	}
	var faults []error
	for _, kind := range append([]uploadKind{{name: "alone"}}, uploadKinds...) {
		if only != "" && kind.make != nil && !slices.Contains(strings.Split(only, ","), kind.name) {
			continue
		}
		if err := o.try(ctx, out, kind); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", kind.name, err))
		}
	}
	return errors.Join(faults...)
}

// What has to hold: how long an answer may take beside the uploads, and how long
// what becomes of a good adapter; and what the server may leave behind and take.
const (
	longAnswer  = 5 * time.Second
	longPublish = 40 * time.Second // 30 are waited for a place
	longWait    = time.Minute      // of the clients that mean no harm
)

type uploading struct {
	root, base, good, limit string
	clients                 int
	length                  time.Duration

	dir, binary string
	files       map[string]content // of the good adapter
	bundle      []byte             // all of them
}

func (o *uploading) prepare(ctx context.Context, dir string) (err error) {
	o.dir = dir
	if o.base == "" {
		o.base = filepath.Join(dir, "base")
		if err := layBase(o.root, o.base); err != nil {
			return err
		}
	}
	if o.good == "" {
		o.good = filepath.Join(o.root, goldens, "llama", "adapters", "lora")
	}
	o.files = map[string]content{}
	for _, name := range []string{adapters.ConfigFile, adapters.SafeFile} {
		b, err := os.ReadFile(filepath.Join(o.good, name))
		if err != nil {
			return err
		}
		o.files[name] = content{text: b}
	}
	o.bundle = packGzip(o.files)
	o.binary, err = buildServer(ctx, o.root, dir)
	return err
}

// try starts a server, attacks it with one kind of upload and tells how it fared.
func (o *uploading) try(ctx context.Context, out io.Writer, kind uploadKind) (err error) {
	folder := filepath.Join(o.dir, "adapters")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	var archive []byte
	if kind.make != nil {
		archive = kind.make(o)
	}
	s, err := start(o.binary, "--base", o.base, "--adapters", folder, "--memory-limit", o.limit, "--access-log", "off")
	if err != nil {
		return err
	}
	if err := s.serving(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()

	attack, end := context.WithTimeout(ctx, o.length)
	defer end()
	var asked, published, hostile responses
	var peak, disk int64
	var clients sync.WaitGroup
	if archive != nil {
		for c := range o.clients {
			clients.Go(func() {
				for attack.Err() == nil {
					hostile.add(put(attack, s, fmt.Sprintf("hostile-%d", c), archive))
				}
			})
		}
	}
	clients.Go(func() {
		for ; attack.Err() == nil; pause(attack, time.Second) {
			asked.add(timed(ctx, http.MethodPost, s.url+"/v1/completions", []byte(`{"prompt":"abc","max_tokens":8,"ignore_eos":true}`)))
		}
	})
	clients.Go(func() {
		for n := 0; attack.Err() == nil; n++ {
			published.add(put(ctx, s, fmt.Sprintf("good-%d", n), o.bundle))
			pause(attack, 2*time.Second)
		}
	})
	watched := make(chan struct{})
	watch, unwatch := context.WithCancel(ctx)
	go func() {
		defer close(watched)
		for ; watch.Err() == nil; pause(watch, 20*time.Millisecond) {
			if now, err := s.resident(); err == nil {
				peak = max(peak, now)
			}
			disk = max(disk, sizeOf(folder))
		}
	}()
	clients.Wait()
	unwatch()
	<-watched
	left := 0
	for range 100 { // what the last of them began ends
		strays, err := filepath.Glob(filepath.Join(folder, ".*"))
		if err != nil {
			return err
		}
		if left = len(strays); left == 0 {
			break
		}
		pause(ctx, 100*time.Millisecond)
	}
	fmt.Fprintf(out, "%-16s asked %s; published %s; hostile %s; memory %s, disk %s at most, left behind %d\n",
		kind.name, &asked, &published, &hostile, mebibytes(peak), mebibytes(disk), left)
	return errors.Join(s.lives(), o.judge(&asked, &published, peak, left))
}

func (o *uploading) judge(asked, published *responses, peak int64, left int) error {
	var faults []error
	if asked.failed(http.StatusOK) || asked.longest() > longAnswer {
		faults = append(faults, errors.New("a request was not answered, or late"))
	}
	if published.failed(http.StatusCreated, http.StatusTooManyRequests, http.StatusInsufficientStorage) || published.longest() > longPublish {
		faults = append(faults, errors.New("a good adapter was refused for what it is not, or late"))
	}
	if left > 0 {
		faults = append(faults, errors.New("uploads were left behind on the disk"))
	}
	return errors.Join(faults...)
}

// responses is what became of requests.
type responses struct {
	mu    sync.Mutex
	took  []time.Duration
	count map[int]int // by status; 0: no answer
}

type response struct {
	status int
	took   time.Duration
}

func (t *responses) add(one response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = map[int]int{}
	}
	t.count[one.status]++
	t.took = append(t.took, one.took)
}

func (t *responses) failed(but ...int) bool {
	for status := range t.count {
		if !slices.Contains(but, status) {
			return true
		}
	}
	return len(t.count) == 0
}

func (t *responses) longest() time.Duration { return quantile(t.took, 1) }

func (t *responses) String() string {
	return fmt.Sprintf("%v p50 %s most %s", t.count, quantile(t.took, 0.5), t.longest())
}

// timed sends one request and waits for its answer.
func timed(ctx context.Context, method, url string, body []byte) response {
	ctx, cancel := context.WithTimeout(ctx, longWait)
	defer cancel()
	began := time.Now()
	r, err := sendIn(ctx, http.DefaultClient, method, url, body)
	if err != nil {
		r.status = 0
	}
	return response{r.status, time.Since(began)}
}

func put(ctx context.Context, s *server, name string, archive []byte) response {
	return timed(ctx, http.MethodPut, s.url+"/v1/adapters/"+name, archive)
}

// sizeOf is what the files in a folder have of the disk.
func sizeOf(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // it has gone meanwhile
		}
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}
