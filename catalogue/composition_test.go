package catalogue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// combining returns a catalogue of those adapters, of 100 bytes each, whose
// combinations have their parts' digests for a digest. One called dora refuses to
// be a part.
func combining(t *testing.T, f *fakeLoader, o Options, names ...string) *Catalogue {
	t.Helper()
	o.Log = silent
	o.Compose = func(parts []Part, loaded []Adapter) (Adapter, error) {
		digest := ""
		for i, p := range parts {
			if p.Name == "dora" {
				return nil, &AdapterError{p.Name, errMultiplies}
			}
			digest += fmt.Sprintf("%g·%s ", p.Weight, loaded[i].Digest())
		}
		return &fakeAdapter{digest: digest}, nil
	}
	c := f.catalogue(t, o)
	for _, name := range names {
		require.NoError(t, c.Add(name, "fake://"+name))
	}
	return c
}

var errMultiplies = errors.New("it multiplies")

// of makes parts of names and weights in turn.
func of(all ...any) (parts []Part) {
	for i := 0; i < len(all); i += 2 {
		parts = append(parts, Part{all[i].(string), all[i+1].(float64)})
	}
	return parts
}

func references(t *testing.T, c *Catalogue, name string) int {
	t.Helper()
	e, err := c.Lookup(name)
	require.NoError(t, err)
	return e.References
}

func composed(t *testing.T, c *Catalogue, parts []Part) *Lease {
	t.Helper()
	l, err := c.Compose(parts, "")
	require.NoError(t, err)
	require.NoError(t, l.Wait(t.Context()))
	return l
}

func TestCompose(t *testing.T) {
	c := combining(t, &fakeLoader{}, Options{}, "a", "b")
	l := composed(t, c, of("b", 0.7, "a", -0.25))
	require.Equal(t, "b:0.7,a:-0.25", l.Name())
	require.Equal(t, []string{"a", "b"}, l.Adapters())
	require.Equal(t, "0.7·b -0.25·a ", l.Digest())
	require.Equal(t, 1, references(t, c, "a"))
	used, _ := c.Bytes()
	require.Equal(t, 200, used)

	// who asks for the same at the same time shares the version, in any order
	same := composed(t, c, of("a", -0.25, "b", 0.7))
	require.Same(t, l.Adapter(), same.Adapter())
	require.Equal(t, l.Version(), same.Version())
	other := composed(t, c, of("a", 0.25, "b", 0.7))
	require.NotEqual(t, l.Version(), other.Version())
	require.Equal(t, 3, references(t, c, "a"))

	// a swap shows in the next request alone
	require.NoError(t, c.Replace("a", "fake://a2"))
	next := composed(t, c, of("b", 0.7, "a", -0.25))
	require.Equal(t, "0.7·b -0.25·a2 ", next.Digest())
	require.Equal(t, "0.7·b -0.25·a ", l.Digest())
	used, _ = c.Bytes()
	require.Equal(t, 300, used, "the replaced version is held")
	for _, l := range []*Lease{l, same.Hold(), same, other, next} {
		l.Release()
	}
	used, _ = c.Bytes()
	require.Equal(t, 200, used)
	require.Zero(t, references(t, c, "a")+references(t, c, "b"))
	require.Empty(t, c.versions.combined)
}

// One adapter of weight 1 is the adapter itself; of another weight it is not.
func TestComposeOne(t *testing.T) {
	c := combining(t, &fakeLoader{}, Options{}, "a", "dora")
	own, err := c.Acquire("a", "")
	require.NoError(t, err)
	defer own.Release()
	l := composed(t, c, of("a", 1.0))
	defer l.Release()
	require.Equal(t, own.Version(), l.Version())
	require.Equal(t, "a", l.Name())
	half := composed(t, c, of("a", 0.5))
	defer half.Release()
	require.Equal(t, "a:0.5", half.Name())
	composed(t, c, of("dora", 1.0)).Release()
}

// What is no combination, or has a part that fails, is refused by name, and
// nothing is held for it.
func TestComposeRefuses(t *testing.T) {
	f := &fakeLoader{errors: map[string]error{"broken": errors.New("a tensor is missing")}}
	c := combining(t, f, Options{}, "a", "b", "broken", "dora")
	var many []Part
	for i := range MaxParts + 1 {
		many = append(many, Part{fmt.Sprint("n", i), 1})
	}
	for _, bad := range []struct {
		parts []Part
		kind  error
		names string
	}{
		{nil, ErrCombination, "no adapters"},
		{many, ErrCombination, "17 adapters"},
		{of("a", 0.5, "b", math.NaN()), ErrCombination, `weight of "b" is NaN`},
		{of("a", 0.5, "b", math.Inf(-1)), ErrCombination, `weight of "b" is -Inf`},
		{of("a", 100.5), ErrCombination, `weight of "a" is 100.5`},
		{of("a", 0.5, "b", 1.0, "a", 0.5), ErrCombination, `names "a" twice`},
		{of("a", 0.5, "nobody", 0.5), ErrUnknown, `adapter "nobody"`},
		{of("a", 0.5, "b,c", 0.5), ErrName, `adapter "b,c"`},
		{of("a", 0.5, "broken", 0.0), nil, `adapter "broken": a tensor is missing`},
		{of("a", 0.5, "broken", 0.5), nil, `adapter "broken": a tensor is missing`}, // remembered
		{of("a", 0.5, "dora", 0.5), errMultiplies, `adapter "dora": it multiplies`},
		{of("b", 0.5, "dora", 0.5), errMultiplies, `adapter "dora": it multiplies`}, // at once
	} {
		l, err := c.Compose(bad.parts, "")
		if err == nil {
			err = l.Wait(t.Context())
			l.Release()
		}
		require.ErrorContains(t, err, bad.names)
		if bad.kind != nil {
			require.ErrorIs(t, err, bad.kind)
		}
	}
	require.Zero(t, references(t, c, "a")+references(t, c, "b")+references(t, c, "dora"))
	require.Empty(t, c.versions.combined)
}

// Combinations that cannot all be in memory together come to it in turn: none
// waits for another that waits for it.
func TestCombinationsWaitForRoom(t *testing.T) {
	c := combining(t, &fakeLoader{}, Options{Bytes: 350}, "a", "b", "c", "d", "e", "f")
	var workers sync.WaitGroup
	for i := range 12 {
		workers.Go(func() {
			names := []string{"a", "b", "c", "d", "e", "f"}
			for j := range 20 {
				x := names[(i+j)%6]
				l, err := c.Compose(of(x, 0.5, names[(i+j+1+i%2)%6], 0.5, names[(i+j+3)%6], 0.25), "")
				if err == nil {
					err = l.Wait(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
				l.Release()
			}
		})
	}
	workers.Wait()
	require.Empty(t, c.versions.combined)
	used, _ := c.Bytes()
	require.LessOrEqual(t, used, 350)
}

// A combination waits for what others hold, and not for what there never is.
func TestCombinationsAndTheBudget(t *testing.T) {
	c := combining(t, &fakeLoader{}, Options{Bytes: 250}, "a", "b", "c", "d")
	busy, err := c.Acquire("c", "")
	require.NoError(t, err)
	require.NoError(t, busy.Wait(t.Context()))
	l, err := c.Compose(of("a", 0.5, "b", 0.5), "")
	require.NoError(t, err)
	for { // its turn has come, and one part waits for the other's room
		c.mu.Lock()
		waits := len(c.gathering) == 1 && len(c.line) == 1
		c.mu.Unlock()
		if waits {
			break
		}
	}
	require.False(t, l.Ready())
	busy.Release()
	require.NoError(t, l.Wait(t.Context()))
	l.Release()

	l, err = c.Compose(of("a", 0.5, "b", 0.5, "d", 0.5), "")
	require.NoError(t, err)
	err = l.Wait(t.Context())
	require.ErrorIs(t, err, ErrSize)
	require.ErrorContains(t, err, "a:0.5,b:0.5,d:0.5 together take 300 bytes of a budget of 250")
	l.Release()

	require.NoError(t, c.Pin(t.Context(), "c"))
	l, err = c.Compose(of("a", 0.5, "b", 0.5), "")
	require.NoError(t, err)
	require.ErrorIs(t, l.Wait(t.Context()), ErrBudget)
	l.Release()
	pinned := composed(t, c, of("a", 0.5, "c", 0.5))
	pinned.Release()
}

// A combination that nobody waits for any more ends its parts' loads.
func TestAbandonedCombination(t *testing.T) {
	f := &fakeLoader{gates: map[string]chan struct{}{"b": make(chan struct{})}}
	c := combining(t, f, Options{}, "a", "b")
	l, err := c.Compose(of("a", 0.5, "b", 0.5), "")
	require.NoError(t, err)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	require.ErrorIs(t, l.Wait(ctx), context.Canceled)
	l.Release()
	for { // until the load has ended
		e, err := c.Lookup("b")
		require.NoError(t, err)
		if e.State != Loading {
			break
		}
	}
	require.Zero(t, references(t, c, "a"))
}

// Weights under which a value is not finite are nobody's fault but the
// request's: the parts go on.
func TestCombinationIsNotWithdrawn(t *testing.T) {
	c := combining(t, &fakeLoader{}, Options{}, "a", "b")
	l := composed(t, c, of("a", 100.0, "b", 100.0))
	err := l.Withdraw(errors.New("a value is not finite"))
	require.ErrorIs(t, err, ErrCombination)
	require.ErrorContains(t, err, "a value is not finite: give smaller weights")
	l.Release()
	composed(t, c, of("a", 0.5, "b", 0.5)).Release()
	for _, name := range []string{"a", "b"} {
		_, err := c.Load(t.Context(), name)
		require.NoError(t, err)
	}
}

// A part that is withdrawn is no part any more, and running requests keep it.
func TestWithdrawnPart(t *testing.T) {
	c := combining(t, &fakeLoader{}, Options{}, "a", "b")
	l := composed(t, c, of("a", 0.5, "b", 0.5))
	alone, err := c.Acquire("b", "")
	require.NoError(t, err)
	require.Error(t, alone.Withdraw(errors.New("a value is not finite")))
	alone.Release()
	require.Equal(t, "0.5·a 0.5·b ", l.Digest())
	_, err = c.Compose(of("a", 0.5, "b", 0.5), "")
	require.ErrorContains(t, err, `adapter "b": version b is not served`)
	l.Release()
}
