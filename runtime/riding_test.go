package runtime

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/pooling"
)

const deep = 4 // layers of the bases of these tests

// openDeep is a base of several layers with adapters that act from different ones on,
// in all ways that there are, and the names of those with a head by its task.
func openDeep(t testing.TB, dir string) (g *golden, heads map[models.Task][]string, others []string) {
	t.Helper()
	g = &golden{t: t, m: modeltest.Deep(t, dir, deep)}
	g.load = loader(g.m)
	c, err := catalogue.New(g.load, catalogue.Options{Compose: catalogue.ComposeFor(g.m)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	g.catalogue, heads = c, map[models.Task][]string{}
	of := func(m models.Model, kind models.SiteKind, from int, biased bool) (names []string) {
		for _, s := range m.Sites() {
			if s.Kind == kind && s.Layer >= from && (!biased || kind == models.NormSite && len(s.Norm.Bias) > 0 || kind == models.LinearSite && len(s.Linear.Bias) > 0) {
				names = append(names, s.Name)
			}
		}
		return names
	}
	var ends []string // the modules of a head
	add := func(name string, task models.Task, classes int, config map[string]any) {
		config["task_type"] = task
		if task == models.Encode && g.m.Config().Architecture.Does(models.Generate) {
			return
		}
		if task != models.Encode {
			config["modules_to_save"] = ends
			heads[task] = append(heads[task], name)
		} else {
			others = append(others, name)
		}
		g.make(name, classes, config)
	}
	for _, task := range []models.Task{models.Classify, models.Tag, models.Encode} {
		m := g.m
		if task != models.Encode {
			if m, err = models.WithHead(g.m, task); err != nil {
				continue
			}
		}
		ends = nil
		for _, s := range m.Sites() {
			if s.Open || s.Classes {
				ends = append(ends, s.Name)
			}
		}
		name := func(s string) string { return fmt.Sprintf("%s-%s", s, task) }
		for from := range deep {
			linears := of(m, models.LinearSite, from, false)
			add(name(fmt.Sprintf("lora%d", from)), task, 2+from, map[string]any{"peft_type": "LORA", "r": 1 + from, "target_modules": linears})
			if from%2 == 0 {
				continue
			}
			add(name(fmt.Sprintf("dora%d", from)), task, 3, map[string]any{"peft_type": "LORA", "use_dora": true, "r": 2, "target_modules": linears[len(linears)/2:]})
			add(name(fmt.Sprintf("ia3%d", from)), task, 3, map[string]any{"peft_type": "IA3", "target_modules": linears[:2], "feedforward_modules": linears[1:2]})
			add(name(fmt.Sprintf("norms%d", from)), task, 2, map[string]any{"peft_type": "LN_TUNING", "target_modules": of(m, models.NormSite, from, false)})
			if biases := slices.Concat(of(m, models.LinearSite, from, true), of(m, models.NormSite, from, true)); len(biases) > 0 {
				add(name(fmt.Sprintf("bitfit%d", from)), task, 4, map[string]any{"peft_type": "BITFIT", "target_modules": biases})
			}
			lower := make([]int, from)
			for i := range lower {
				lower[i] = i
			}
			add(name(fmt.Sprintf("houlsby%d", from)), task, 5, map[string]any{"peft_type": "BOTTLENECK", "mh_adapter": true, "reduction_factor": 4, "leave_out": lower})
		}
		if task != models.Encode {
			for i := range 3 {
				add(name(fmt.Sprintf("head%d", i)), task, 2+i, map[string]any{"peft_type": "LORA", "target_modules": "dummy-target-modules"})
			}
		}
		pools := slices.ContainsFunc(m.Sites(), func(s models.Site) bool { return s.Kind == models.LinearSite && s.Name == "pooler.dense" })
		if task != models.Tag && pools && g.m.Config().Pooler {
			add(name("pooler"), task, 2, map[string]any{"peft_type": "LORA", "r": 2, "target_modules": []string{"pooler.dense"}})
		}
	}
	return g, heads, others
}

// loader reads adapters for a base.
func loader(m models.Model) catalogue.Loader {
	return func(_ context.Context, s catalogue.Source) (catalogue.Adapter, error) {
		f, err := adapters.Open(s.Dir)
		if err != nil {
			return nil, err
		}
		return adapters.Load(m, f)
	}
}

// make registers an adapter of a configuration, whose head tells so many classes
// apart, with values that are its name's.
func (g *golden) make(name string, classes int, config map[string]any) {
	g.t.Helper()
	c, err := adapters.NewConfig(config)
	if err != nil {
		g.t.Fatal(name, err)
	}
	c.Classes = &models.Classes{Names: models.ClassNames(classes)}
	a, err := adapters.New(g.m, c)
	if err != nil {
		g.t.Fatal(name, err)
	}
	for i, p := range a.Params() {
		values := p.Values().Data
		noise := make([]float32, len(values))
		random.Named(uint64(i), name).Uniform(noise, -0.3, 0.3)
		kernels.Add(values, noise)
	}
	a.Refresh()
	dir := filepath.Join(g.t.TempDir(), name)
	if err := a.Save(dir); err != nil {
		g.t.Fatal(name, err)
	}
	if err := g.catalogue.Add(name, dir); err != nil {
		g.t.Fatal(err)
	}
}

// TestTextsShareWhatNothingActsOn asks many adapters and the base of the same texts at
// once, for scores, hidden states and pooled rows: each answer has the bits that it has
// alone, and of the layers that no adapter acts on yet most rows are not computed.
func TestTextsShareWhatNothingActsOn(t *testing.T) {
	dirs := map[string]string{"gpt2 with a head": modeltest.OwnHead(t, "heads/gpt2/own-text"), "qwen3 with a head": modeltest.OwnHead(t, "heads/qwen3/own-tokens")}
	for _, base := range modeltest.Encoders(t) {
		dirs[base] = modeltest.Goldens(t, base)
	}
	for base, dir := range dirs {
		t.Run(base, func(t *testing.T) {
			g, heads, others := openDeep(t, dir)
			list := ridersOf(g, heads, others)
			var alone []answer
			for _, c := range list {
				a := g.run(g.engine(1, Options{}), []*call{c}, nil)[0]
				if a.err != nil {
					t.Fatalf("adapter %q: %v", c.adapter, a.err)
				}
				alone = append(alone, a)
			}
			for _, o := range []struct {
				name    string
				threads int
				options Options
				arrive  func(int) int
				saves   bool
			}{
				{"one batch", 2, Options{Slots: 1000, StepTokens: 100000}, nil, true},
				{"a few at a time", 1, Options{Slots: 7}, nil, true},
				{"small steps", 2, Options{StepTokens: 40}, nil, true},
				{"nothing is kept", 2, Options{StepTokens: 7}, nil, false},
				{"one after the other", 1, Options{}, func(i int) int { return i }, false},
				{"coming and going", 2, Options{Slots: 5}, func(i int) int { return i * 7 % 11 }, true},
			} {
				o.options.Queue = len(list)
				e := g.engine(o.threads, o.options)
				for i, a := range g.run(e, list, o.arrive) {
					same(t, fmt.Sprintf("%s: request %d, adapter %q", o.name, i, list[i].adapter), a, alone[i])
				}
				n := e.Snapshot()
				t.Logf("%s: %d steps, %d of %d rows of layers were not computed", o.name, n.Steps, n.SharedRows, int(n.PromptTokens)*deep)
				if o.saves && n.SharedRows*5 < n.PromptTokens*deep {
					t.Errorf("%s: %d of %d rows of layers were shared", o.name, n.SharedRows, int(n.PromptTokens)*deep)
				}
				if len(e.texts) > 0 || e.batch.MayKeep != e.options.StepTokens {
					t.Errorf("%s: %d texts remain, and %d of %d rows", o.name, len(e.texts), e.batch.MayKeep, e.options.StepTokens)
				}
			}
		})
	}
}

// ridersOf asks all adapters, and the base, of three texts, two of which are as long as
// each other, in an order that mixes them.
func ridersOf(g *golden, heads map[models.Task][]string, others []string) (list []*call) {
	vocabulary := g.m.Config().Vocabulary
	text := func(n, seed int) (tokens []int32) {
		for i := range n {
			tokens = append(tokens, int32(5+(seed*13+i*i*7+i)%(vocabulary-5)))
		}
		return tokens
	}
	for _, prompt := range [][]int32{text(11, 1), text(11, 2), text(6, 3)} {
		ask := func(adapter string, r Request) {
			r.Prompt, r.Logprobs, r.PromptLogprobs = prompt, -1, -1
			list = append(list, &call{r, adapter})
		}
		for _, task := range []models.Task{models.Classify, models.Tag} {
			for _, name := range heads[task] {
				ask(name, Request{Encode: EncodeScores})
			}
		}
		for _, name := range append([]string{""}, others...) {
			ask(name, Request{Encode: EncodeTokens})
			ask(name, Request{Encode: EncodeFolded, Pooling: []pooling.Mode{pooling.Mean}})
			if g.m.Config().Pooler {
				ask(name, Request{Encode: EncodePooled})
			}
		}
		if g.m.Config().Classes != nil {
			ask("", Request{Encode: EncodeScores})
		}
	}
	slices.SortStableFunc(list, func(a, b *call) int { return len(a.adapter) - len(b.adapter) })
	return list
}

// TestScopesDoNotRideTogether: what one scope asks shows in no other's time.
func TestScopesDoNotRideTogether(t *testing.T) {
	g := openHeads(t, "encoders/bert")
	prompt := []int32{7, 8, 9, 10}
	for scopes, shared := range map[[2]string]bool{{"a", "a"}: true, {"a", "b"}: false, {"", "a"}: false} {
		e := g.engine(1, Options{})
		var calls []*call
		for _, scope := range scopes {
			calls = append(calls, &call{Request{Prompt: prompt, Scope: scope, Encode: EncodeTokens, Logprobs: -1, PromptLogprobs: -1}, ""})
		}
		g.run(e, calls, nil)
		if n := e.Snapshot().SharedRows; n > 0 != shared {
			t.Errorf("%q: %d rows were shared", scopes, n)
		}
	}
}

// TestRidingAllocatesNothing: texts of one trunk are computed in the memory of those
// before.
func TestRidingAllocatesNothing(t *testing.T) {
	g, heads, _ := openDeep(t, modeltest.Goldens(t, "encoders/bert"))
	pool := kernels.NewPool(2)
	defer pool.Close()
	p, head := models.NewPass(pool), models.Classify
	through, err := g.m.Config().Head(head)
	if err != nil {
		t.Fatal(err)
	}
	var all []catalogue.Adapter
	for _, name := range heads[head] {
		entry, err := g.catalogue.Load(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry.Adapter)
	}
	var b models.Batch
	var trunk models.Trunk
	tokens := []int32{7, 8, 9, 10, 11}
	step := func() {
		b.Reset()
		for _, a := range all {
			b.Out = append(b.Out, int32(b.Rows()))
			b.AddRider(tokens, nil, 0, a, models.Ride{Trunk: &trunk, Layers: a.SharedLayers()})
		}
		h := g.m.Forward(p, &b, nil)
		scores := through.Forward(p, &b, 0, h)
		p.Free(h, scores)
	}
	for range 5 {
		step()
	}
	if n := testing.AllocsPerRun(50, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

// TestTextsThatComeAgain: what a text has in common with those that follow it is kept
// until others want the room, though none waits.
func TestTextsThatComeAgain(t *testing.T) {
	g := openHeads(t, "encoders/bert")
	ask := func(first int32, again bool) *call {
		return &call{Request{Prompt: []int32{first, 8, 9, 10}, Again: again, Encode: EncodeTokens, Logprobs: -1, PromptLogprobs: -1}, ""}
	}
	for _, c := range []struct {
		calls []*call
		rows  uint64
		idle  int
	}{
		{[]*call{ask(7, false), ask(7, false)}, 0, 0},
		{[]*call{ask(7, true), ask(7, true)}, 8, 1},
		{[]*call{ask(7, true), ask(7, false)}, 8, 0},
		{[]*call{ask(7, true), ask(6, true), ask(7, true)}, 8, 1},               // which may want more room
		{[]*call{ask(7, true), ask(6, true), ask(5, true), ask(7, true)}, 0, 2}, // which takes the room of the first
	} {
		e := g.engine(1, Options{StepTokens: 12})
		want := g.run(g.engine(1, Options{}), c.calls[len(c.calls)-1:], nil)[0]
		got := g.run(e, c.calls, func(i int) int { return 3 * i })
		same(t, "the last", got[len(got)-1], want)
		kept := 0
		for _, i := range e.resting {
			kept += i.trunk.Rows()
		}
		if n := e.Snapshot().SharedRows; n != c.rows || len(e.resting) != c.idle || len(e.texts) != c.idle || e.batch.MayKeep+kept != 12 {
			t.Errorf("%d requests: %d rows shared, want %d; %d texts are idle of %d, with %d rows", len(c.calls), n, c.rows, len(e.resting), len(e.texts), kept)
		}
	}
}
