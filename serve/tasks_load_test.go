package serve

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// refusingEngine refuses to wait for adapters before its engine is asked.
type refusingEngine struct {
	Engine
	refuse func(asked int) error
	asked  atomic.Int32
}

func (e *refusingEngine) Await(ctx context.Context, lease *catalogue.Lease, t *runtime.Tenant, group string) error {
	if err := e.refuse(int(e.asked.Add(1))); err != nil {
		return err
	}
	return e.Engine.Await(ctx, lease, t, group)
}

// Adapters that the engine has no place for to wait for them wait for those before them,
// as texts do.
func TestTasksWaitForRoomToLoad(t *testing.T) {
	engine := &refusingEngine{}
	change := func(_ *Config, p *Parts) { engine.Engine, p.Engine = p.Engine, engine }
	s, _ := headsSite(t, headsLoad{adapters: 9, resident: 3, engine: fewSlots}, change)
	for name, full := range map[string]error{
		"the queue":  fmt.Errorf("%w: 8 requests wait", runtime.ErrQueueFull),
		"its tenant": &runtime.LimitError{Tenant: "a", Limit: "waiting", Most: 1},
	} {
		for _, admitted := range []func(asked int) bool{
			func(asked int) bool { return asked == 1 || asked > 20 },
			func(asked int) bool { return asked%2 == 1 },
		} {
			engine.asked.Store(0)
			engine.refuse = func(asked int) error {
				if admitted(asked) {
					return nil
				}
				return full
			}
			all := s.tasks(t, "adapter=*", `{"input":["a","b c"]}`)
			require.Len(t, all.Tasks, 9)
			for _, task := range all.Tasks {
				require.Nil(t, task.Error, "%s: %+v", name, task.Error)
			}
		}
	}
}

// A request for none of whose adapters there is a place is refused, and so is one that a
// server which shuts down is asked.
func TestTasksWithoutRoomToLoad(t *testing.T) {
	dir := t.TempDir()
	for i := range 6 {
		layAdapter(t, "lora", filepath.Join(dir, fmt.Sprint("task-", i)))
	}
	known, err := catalogue.New(func(ctx context.Context, _ catalogue.Source) (catalogue.Adapter, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}, catalogue.Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, known.Close()) })
	s := newHeads(t, func(_ *Config, p *Parts) { p.Catalogue = known })
	for err, status := range map[error]int{
		runtime.ErrQueueFull: 429, &runtime.LimitError{Tenant: "a", Limit: "waiting", Most: 1}: 429, runtime.ErrClosed: 503,
	} {
		s.engine.crowded = err
		got := s.post(t, "/v1/classify?adapter=*", `{"input":"a"}`)
		require.Equal(t, status, got.status, "%v: %s", err, got.body)
	}
}

// Loads find room at once, however many texts each adapter has to answer: none is begun
// that would have to wait for those of a task.
func TestTasksOfManyTextsTakeTurns(t *testing.T) {
	s, _ := headsSite(t, headsLoad{adapters: 12, resident: 3, wait: time.Nanosecond, engine: fewSlots}, func(c *Config, _ *Parts) { c.Parallel = 2 })
	all := s.tasks(t, "adapter=*", `{"input":["a"`+strings.Repeat(`,"b c"`, 20)+`]}`)
	require.Len(t, all.Tasks, 12)
	for _, task := range all.Tasks {
		require.Nil(t, task.Error, "%s: %+v", task.Name, task.Error)
	}
}
