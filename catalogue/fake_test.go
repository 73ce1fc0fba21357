package catalogue

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = slog.New(slog.DiscardHandler)

// fakeAdapter computes nothing.
type fakeAdapter struct {
	models.Adapter
	digest   string
	bytes    int
	template string
	ends     []int32
	sampling adapters.SamplingDefaults
}

func (a *fakeAdapter) Digest() string         { return a.digest }
func (a *fakeAdapter) Identity() string       { return a.digest }
func (a *fakeAdapter) Bytes() int             { return a.bytes }
func (a *fakeAdapter) PrefixTokens() int      { return 0 }
func (a *fakeAdapter) VirtualTokens() int     { return 0 }
func (*fakeAdapter) Classes() *models.Classes { return nil }
func (a *fakeAdapter) Vocabulary() int        { return 64 }
func (a *fakeAdapter) Method() string         { return "fake" }
func (a *fakeAdapter) Rank() int              { return 0 }

func (a *fakeAdapter) Largest() (string, float32) { return "lora_A", 3e38 }
func (a *fakeAdapter) LoudestToken() int32        { return -1 }
func (a *fakeAdapter) Invocation() []int32        { return nil }
func (a *fakeAdapter) SharedLayers() int          { return 0 }

func (a *fakeAdapter) ChatTemplate() chat.Source           { return chat.Source{Text: a.template} }
func (a *fakeAdapter) Tokenizer() *tokenizer.Tokenizer     { return nil }
func (a *fakeAdapter) EndTokens() []int32                  { return a.ends }
func (a *fakeAdapter) Sampling() adapters.SamplingDefaults { return a.sampling }

// fakeLoader loads fakeAdapters from URIs "fake://digest".
type fakeLoader struct {
	mu       sync.Mutex
	adapters map[string]*fakeAdapter // by digest; others are made
	errors   map[string]error
	gates    map[string]chan struct{} // closed when the load may end
	loads    map[string]int
}

func (f *fakeLoader) load(ctx context.Context, s Source) (Adapter, error) {
	name := strings.TrimPrefix(s.URI, "fake://")
	f.mu.Lock()
	if f.loads == nil {
		f.loads = map[string]int{}
	}
	f.loads[name]++
	gate, err, a := f.gates[name], f.errors[name], f.adapters[name]
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	if a == nil {
		a = &fakeAdapter{digest: name, bytes: 100}
	}
	return a, nil
}

func (f *fakeLoader) catalogue(t testing.TB, o Options) *Catalogue {
	t.Helper()
	o.Schemes = map[string]Scheme{"fake": func(context.Context, string) (string, error) { return "", nil }}
	c, err := New(f.load, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
