package serve

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// While tokens are generated a tenant has grammars compiled in the time that is left,
// however many it asks for at once; one that is known by then is not waited for.
func TestGrammarsOfABurst(t *testing.T) {
	text := testTokenizer(t)
	synctest.Test(t, func(t *testing.T) {
		const callers = 8
		g := newGrammars(8<<20, nil, newPace(pacedCompiling, func() bool { return true }))
		var mu sync.Mutex
		var begun []time.Duration
		start := time.Now()
		each := time.Duration(pacedCompiling * runtime.GOMAXPROCS(0)) // which takes a second of the pace
		g.compile = func(f *form) (*grammar.Grammar, error) {
			mu.Lock()
			begun = append(begun, time.Since(start))
			mu.Unlock()
			time.Sleep(each)
			return f.compile()
		}
		get := func(pattern string) {
			_, err := g.get(t.Context(), "a", &form{field: "f", kind: formRegex, text: pattern}, vocabularyKey{text, text.VocabSize()})
			require.NoError(t, err)
		}
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() { get(fmt.Sprint("a", i)) })
		}
		all.Wait()
		require.Len(t, begun, callers)
		for i, at := range begun { // as many at once as may be
			require.GreaterOrEqual(t, at, time.Duration(i+1-compilers)*time.Second, "%d of %v", i, begun)
		}

		again := time.Now()
		for range callers {
			all.Go(func() { get("a0") })
		}
		all.Wait()
		require.Zero(t, time.Since(again))

		begun = nil
		time.Sleep(time.Minute)
		again = time.Now()
		for range callers {
			all.Go(func() { get("b") })
		}
		all.Wait()
		require.Equal(t, each, time.Since(again), "they wait for the one who has it compiled, and not for his time")
	})
}
