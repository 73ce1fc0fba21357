package serve

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// tasks asks several adapters at once.
func (s *site) tasks(t *testing.T, query, body string) tasksAnswer {
	t.Helper()
	got := s.post(t, "/v1/classify?"+query, body)
	require.Equal(t, 200, got.status, got.body)
	var a tasksAnswer
	require.NoError(t, json.Unmarshal([]byte(got.body), &a), got.body)
	require.Empty(t, got.header.Get("X-Adapter-Id"))
	return a
}

// names are the tasks of an answer, a failed one with a !.
func (a tasksAnswer) names() (names []string) {
	for _, t := range a.Tasks {
		name := t.Name
		if t.Error != nil {
			name += "!"
		}
		names = append(names, name)
	}
	return names
}

// Each adapter answers for itself, in the order in which it is named, and one that
// cannot says why in its own place.
func TestClassifyByTasks(t *testing.T) {
	s := newHeads(t, nil)
	for query, want := range map[string]string{
		"adapter=*":                          "broken! cold! ner sql",
		"adapter=sql,ner":                    "sql ner",
		"adapter=ner&adapter=sql":            "ner sql",
		"adapter=sql,ner,sql&adapter=sql":    "sql ner",
		"adapter=s*,*":                       "sql broken! cold! ner",
		"adapter=s?l":                        "sql",
		"adapter=sql,*r,nobody,base-model":   "sql ner nobody! base-model!",
		"adapter=ner&adapter=sql:0.5,cold:1": "ner sql:0.5,cold:1!",
	} {
		a := s.tasks(t, query, `{"input":"Hello"}`)
		require.Equal(t, want, strings.Join(a.names(), " "), query)
		require.Equal(t, "tasks", a.Object)
		require.Positive(t, a.Usage.Prompt)
		for _, task := range a.Tasks {
			if task.Error != nil {
				require.Empty(t, task.Data)
				require.NotEmpty(t, task.Error.Message)
				continue
			}
			require.Equal(t, "digest-of-"+task.Name, task.Digest)
			require.Len(t, task.Data, 1)
			alone := s.post(t, "/v1/classify?adapter="+task.Name, `{"input":"Hello"}`)
			var one classifyAnswer
			require.NoError(t, json.Unmarshal([]byte(alone.body), &one))
			require.Equal(t, one.Data, task.Data)
			require.Equal(t, one.Task, task.Task)
			require.Equal(t, one.Problem, task.Problem)
		}
	}
	all := s.tasks(t, "adapter=*", `{"input":["Hello","You","there"],"top_k":1,"activation":"none"}`)
	require.Len(t, all.Tasks[3].Data, 3)
	require.Len(t, all.Tasks[3].Data[2].Scores, 1)
	require.Contains(t, all.Tasks[0].Error.Message, "lora_B.weight is missing")
	require.Equal(t, "adapter_refused", all.Tasks[0].Error.Code)
	require.Contains(t, all.Tasks[1].Error.Message, `adapter "cold" has no head`)
	require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 5*time.Second, time.Millisecond)
}

// A name that an adapter shares with the base is a fault of its own place, however it
// is named.
func TestTasksBesideTheBasesName(t *testing.T) {
	s := newHeads(t, nil)
	s.catalogue.Add("base-model", "/x")
	for query, want := range map[string]string{
		"adapter=*":                   "base-model! broken! cold! ner sql",
		"adapter=sql,base-*":          "sql base-model!",
		"adapter=sql,base-model":      "sql base-model!",
		"adapter=ner&adapter=base-m*": "ner base-model!",
	} {
		a := s.tasks(t, query, `{"input":"Hello"}`)
		require.Equal(t, want, strings.Join(a.names(), " "), query)
		for _, task := range a.Tasks {
			if task.Name == "base-model" {
				require.Contains(t, task.Error.Message, "is the name of the base and of an adapter")
			}
		}
	}
}

// What is wrong with the request as a whole is refused as a whole.
func TestClassifyByTasksRefused(t *testing.T) {
	s := newHeads(t, nil)
	for _, c := range []struct{ path, body, message string }{
		{"/v1/classify?adapter=x*", `{"input":"a"}`, `no adapter's name matches \"x*\"`},
		{"/v1/classify?adapter=sql,,ner", `{"input":"a"}`, "has an empty name"},
		{"/v1/classify?adapter=sql:0.5,ner", `{"input":"a"}`, "give each combination a parameter of its own"},
		{"/v1/classify?adapter=sql,n!*", `{"input":"a"}`, "which no adapter's name has"},
		{"/v1/classify?adapter=*&top_k=1", `{"input":"a"}`, "top_k is not a query parameter"},
		{"/v1/classify?adapter=*", `{"input":"a","model":"sql"}`, "name them in one place"},
		{"/v1/classify?adapter=*", `{"input":""}`, "input is empty"},
		{"/v1/classify?adapter=*", `{"input":[["a","b","c"]]}`, "input[0] has 3 texts"},
		{"/v1/classify?adapter=sql,ner", `{"input":"` + strings.Repeat("a b ", 100) + `"}`, "maximum context length is 128"},
		{"/v1/classify?adapter=sql", `{"input":[[1000000,1048576]]}`, "token 1048576 at place 1 is outside the vocabulary of 1048576"},
		{"/v1/classify?adapter=sql,s*", `{"input":[[1000000,1048576]]}`, "token 1048576 at place 1 is outside the vocabulary of 1048576"},
		{"/v1/classify", `{"input":"a","model":"*"}`, "no pattern of several, which POST /v1/classify?adapter= alone answers"},
		{"/classify?adapter=*", `{"inputs":"a"}`, "no pattern of several"},
		{"/predict?adapter=s*", `{"inputs":"a"}`, "no pattern of several"},
		{"/v1/embeddings?adapter=*", `{"input":"a"}`, "no pattern of several"},
		{"/v1/completions?adapter=*", `{"prompt":"a"}`, "no pattern of several"},
		{"/v1/completions?adapter=sql,ner", `{"prompt":"a"}`, "has no weight"},
	} {
		got := s.post(t, c.path, c.body)
		require.Contains(t, []int{400, 404, 422}, got.status, c.path+got.body)
		require.Contains(t, got.body, c.message, c.path)
	}
}

// Texts are judged by those who read them, and not by the base.
func TestTasksJudgeTheirTexts(t *testing.T) {
	s := newHeads(t, nil)
	a := s.tasks(t, "adapter=sql,ner", `{"input":[[1000000]]}`)
	require.Equal(t, []string{"sql", "ner!"}, a.names())
	require.Contains(t, a.Tasks[1].Error.Message, "give the text")
	a = s.tasks(t, "adapter=sql,broken", `{"input":"`+strings.Repeat("a b ", 100)+`"}`)
	require.Equal(t, []string{"sql!", "broken!"}, a.names())
	require.Contains(t, a.Tasks[0].Error.Message, "maximum context length is 128")
	require.Contains(t, a.Tasks[1].Error.Message, "lora_B.weight is missing")
}

// No more texts are in the engine at once than the server is told.
func TestTasksInParallel(t *testing.T) {
	for _, parallel := range []int{1, 3} {
		s := newHeads(t, func(c *Config, _ *Parts) { c.Parallel = parallel })
		s.tasks(t, "adapter=sql,ner", `{"input":["a","b","c","d","e","f"]}`)
		require.EqualValues(t, parallel, s.engine.peak.Load())
	}
}

// A task says what it ran with, as all else does.
func TestTasksOfAPrecision(t *testing.T) {
	s := newHeads(t, nil)
	s.catalogue.precision = "+q8_0"
	require.Equal(t, "digest-of-sql+q8_0", s.tasks(t, "adapter=sql,ner", `{"input":"a"}`).Tasks[0].Digest)
	require.Equal(t, "digest-of-sql+q8_0", s.post(t, "/v1/classify?adapter=sql", `{"input":"a"}`).header.Get("X-Adapter-Digest"))
}

// What each task keeps of its texts is set aside.
func TestTasksCountTheirTexts(t *testing.T) {
	require.LessOrEqual(t, int(reflect.TypeFor[classified]().Size()), textBytes)
	account := memoryWith(t, 1<<30)
	s := newHeads(t, func(_ *Config, p *Parts) { p.Memory = account })
	r := &tasksRun{server: s.server, what: &classification{}}
	used := func() int64 {
		lines := account.Lines()
		return lines[slices.IndexFunc(lines, func(l memory.Line) bool { return l.Name == memory.Bodies })].Used
	}
	before := used()
	require.NoError(t, r.count([]*task{{classes: &models.Classes{Task: models.Classify, Names: []string{"a"}}, read: &readTexts{all: make([]classified, 1000)}}}))
	require.Greater(t, used()-before, int64(1000*textBytes))
	r.free()
	require.Equal(t, before, used())
}

// What a task fails of inside of the server is seen where all that does is, and the log
// names who was asked.
func TestTasksInTheLogs(t *testing.T) {
	log := &logged{}
	tracer, spans := newTracer()
	s := newHeads(t, func(c *Config, p *Parts) { c.Log, c.AccessLog, p.Tracer = log.logger(slog.LevelInfo), 1, tracer })
	s.tasks(t, "adapter=s*,nobody,ner&adapter=ner:1,nobody:1", `{"input":"a"}`)
	s.engine.refuse = runtime.ErrNotFinite
	s.tasks(t, "adapter=sql,cold,base-model", `{"input":"a"}`)
	all := log.records(t, "request", 2)
	require.Equal(t, "s*,ner", all[0]["adapter"])
	require.Nil(t, all[0]["error"], "an adapter that there is not is no fault of the server")
	require.Equal(t, "sql,cold,base-model", all[1]["adapter"])
	require.Equal(t, []any{200., serverFault}, []any{all[1]["status"], all[1]["error"]})
	failed := log.records(t, "request failed", 1)[0]
	require.Equal(t, []any{"sql", "/v1/classify", runtime.ErrNotFinite.Error()}, []any{failed["adapter"], failed["route"], failed["error"]})
	first := attributesOf(spans.GetSpans()[0])
	require.Equal(t, []any{"classify", "s*,ner"}, []any{first["gen_ai.operation.name"], first["gen_ai.request.model"]})
}

// Texts that the engine has no room for wait for those before them; a request of which
// it takes nothing is refused, and a draining server takes none.
func TestTasksWaitForRoom(t *testing.T) {
	s := newHeads(t, nil)
	s.engine.most = 2
	a := s.tasks(t, "adapter=sql,ner", `{"input":["a","b","c","d","e","f"]}`)
	require.Equal(t, []string{"sql", "ner"}, a.names())
	require.Len(t, a.Tasks[1].Data, 6)
	s.engine.refuse = runtime.ErrQueueFull
	require.Equal(t, 429, s.post(t, "/v1/classify?adapter=sql,ner", `{"input":"a"}`).status)
	s.engine.refuse = runtime.ErrClosed
	require.Equal(t, 503, s.post(t, "/v1/classify?adapter=sql,ner", `{"input":"a"}`).status)
	s.engine.refuse = runtime.ErrNotFinite
	require.Equal(t, []string{"sql!", "ner!"}, s.tasks(t, "adapter=sql,ner", `{"input":"a"}`).names())
	require.NoError(t, s.server.requests.drain(t.Context()))
	require.Equal(t, 503, s.post(t, "/v1/classify?adapter=sql,ner", `{"input":"a"}`).status)
}

// A pattern means what the key may use, and no more.
func TestTasksOfAKey(t *testing.T) {
	s := newHeads(t, func(c *Config, p *Parts) {
		known := p.Catalogue.(*fakeCatalogue)
		known.Add("team-a.x", "/x")
		known.Add("team-b.y", "/y")
		c.Keys = readKeys(t, twoTeams)
	})
	for key, want := range map[string]string{"team-a": "broken! cold! ner sql team-a.x!", "globs": "sql team-a.x!", "root": "broken! cold! ner sql team-a.x! team-b.y!"} {
		got := s.as(t, key, "POST", "/v1/classify?adapter=*", `{"input":"a"}`)
		require.Equal(t, 200, got.status, got.body)
		var a tasksAnswer
		require.NoError(t, json.Unmarshal([]byte(got.body), &a))
		require.Equal(t, want, strings.Join(a.names(), " "), key)
	}
	got := s.as(t, "team-a", "POST", "/v1/classify?adapter=sql,team-b.y", `{"input":"a"}`)
	require.Contains(t, got.body, "The model `team-b.y` does not exist")
	require.Equal(t, 404, s.as(t, "team-a", "POST", "/v1/classify?adapter=team-b.*", `{"input":"a"}`).status)
	require.Equal(t, 403, s.as(t, "scraper", "POST", "/v1/classify?adapter=*", `{"input":"a"}`).status)
}

// Of many names those are leased that the key may use, and of the others is said what is
// said of each alone.
func TestAcquireAllOfAKey(t *testing.T) {
	known := newFakeCatalogue("sql", "ner", "nightly-1")
	set := readKeys(t, `{name: ci, key: ci-secret, rights: [use, publish], use: sql, publish: "nightly-*"}`)
	v := view{known, &caller{settings: newSettings(set, Limits{}), key: set.Find("ci-secret")}}
	names := []string{"nightly-1", "sql", "ner"} // seen and not used; used; not seen
	leases, faults := v.AcquireAll(names, "")
	for i, says := range []string{`may publish adapter "nightly-1" and not use it`, "", "ner"} {
		lease, err := v.Acquire(names[i], "")
		require.Equal(t, err, faults[i])
		require.Equal(t, lease.Name(), leases[i].Name())
		if says == "" {
			require.NoError(t, err)
			require.Equal(t, "sql", leases[i].Name())
			continue
		}
		require.Nil(t, leases[i])
		require.ErrorContains(t, err, says)
	}
}

// FuzzTasks: whatever a list says, each task is named once, by a name that may be used,
// and none is left out without an error.
func FuzzTasks(f *testing.F) {
	for _, list := range []string{"*", "sql,ner", "s*,?er", "a:1,b:2", "sql:0.5,ner", ",", "sql,,", "**?", "base-model,sql", "é*", " sql , ner ", "nobody", "a:1:2", "sql:,*"} {
		f.Add(list, "")
		f.Add("ner", list)
	}
	known := newFakeCatalogue("sql", "ner", "a:1", "org/name")
	server := &Server{config: Config{Name: "base-model"}, catalogue: known}
	f.Fuzz(func(t *testing.T, first, second string) {
		list := taskList{server: server, known: known, who: &caller{settings: &settings{}}, named: map[string]bool{}}
		all, err := list.of([]string{first, second})
		if err != nil {
			var refused *failure
			require.ErrorAs(t, err, &refused)
			require.NotEqual(t, 500, refused.status)
			return
		}
		require.NotEmpty(t, all)
		seen := map[string]bool{}
		for _, n := range all {
			require.False(t, seen[n.name], n.name)
			seen[n.name] = true
			require.NotEmpty(t, n.name)
			if strings.ContainsAny(n.name, "*?") {
				t.Errorf("%q of %q, %q is a pattern", n.name, first, second)
			}
		}
	})
}

// headsLoad is what headsSite serves.
type headsLoad struct {
	base     string // a folder; empty: the tiny encoder's
	adapters int
	alone    bool // heads and nothing else: otherwise every third is a LoRA besides
	resident int  // adapters that have room in memory; 0: all
	wait     time.Duration
	engine   runtime.Options
}

// fewSlots is an engine that runs few texts at once.
var fewSlots = runtime.Options{Slots: 4, Queue: 16, StepTokens: 64}

// headsSite serves an encoder with a tokenizer, and many adapters with heads of
// which some have room in memory, for which a load waits so long.
func headsSite(t testing.TB, load headsLoad, change func(*Config, *Parts)) (*site, *catalogue.Catalogue) {
	t.Helper()
	dir := cmp.Or(load.base, "../testdata/goldens/sentences/tiny")
	model, source, err := models.Open(dir, models.Options{})
	require.NoError(t, err)
	text, err := tokenizer.Load(dir)
	require.NoError(t, err)
	folder, each := t.TempDir(), 0
	for i := range load.adapters {
		config := map[string]any{"peft_type": "LORA", "task_type": "SEQ_CLS", "target_modules": "dummy-target-modules", "modules_to_save": []string{"classifier"}}
		if i%3 == 1 && !load.alone {
			config["r"], config["target_modules"] = 2, []string{"query", "value"}
		}
		c, err := adapters.NewConfig(config)
		require.NoError(t, err)
		c.Classes = &models.Classes{Names: models.ClassNames(2 + i%3)}
		a, err := adapters.New(model, c)
		require.NoError(t, err)
		for j, p := range a.Params() {
			random.Named(uint64(j), fmt.Sprint(i)).Uniform(p.Values().Data, -1, 1)
		}
		a.Refresh()
		each = max(each, a.Bytes())
		require.NoError(t, a.Save(filepath.Join(folder, fmt.Sprintf("task-%03d", i))))
	}
	known, err := catalogue.New(func(_ context.Context, s catalogue.Source) (catalogue.Adapter, error) {
		f, err := adapters.Open(s.Dir)
		if err != nil {
			return nil, err
		}
		return adapters.Load(model, f)
	}, catalogue.Options{Dir: folder, Bytes: cmp.Or(load.resident, load.adapters) * each, Wait: load.wait, Compose: catalogue.ComposeFor(model)})
	require.NoError(t, err)
	pool, metrics := kernels.NewPool(1), NewMetrics("encoder")
	load.engine.Observer = metrics
	engine, err := runtime.New(model, func(skip bool) runtime.Decoder { return text.NewDecoder(skip) }, pool, load.engine)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, engine.Close(context.Background()))
		require.NoError(t, known.Close())
		pool.Close()
		require.NoError(t, source.Close())
	})
	return newSite(t, func(c *Config, p *Parts) {
		c.Name = "encoder"
		*p = Parts{Engine: RuntimeEngine(engine), Catalogue: known, Base: model.Config(), Tokenizer: text, Metrics: metrics}
		if change != nil {
			change(c, p)
		}
	}), known
}

// More adapters than there is memory for go through in turns, each with the bits that
// it answers with alone, and none is held when all have.
func TestTasksTakeTurns(t *testing.T) {
	const n = 40
	s, known := headsSite(t, headsLoad{adapters: n, resident: 3, engine: fewSlots}, nil)
	body := `{"input":["` + strings.Repeat("a ", 5) + `","b c","b c"],"activation":"none"}`
	all := s.tasks(t, "adapter=*", body)
	require.Len(t, all.Tasks, n)
	digests := map[string]bool{}
	for _, task := range all.Tasks {
		require.Nil(t, task.Error, "%+v", task.Error)
		digests[task.Digest] = true
		var one classifyAnswer
		require.NoError(t, json.Unmarshal([]byte(s.post(t, "/v1/classify?adapter="+task.Name, body).body), &one))
		require.Equal(t, one.Data, task.Data)
	}
	require.Len(t, digests, n)
	names := all.names()
	require.True(t, slices.IsSorted(names))
	require.Eventually(t, func() bool {
		for _, e := range known.Entries() {
			if e.References > 0 || e.Pinned {
				return false
			}
		}
		return true
	}, 5*time.Second, time.Millisecond)
	used, budget := known.Bytes()
	require.LessOrEqual(t, used, budget)
}
