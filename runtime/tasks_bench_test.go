//go:build unix

package runtime

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// BenchmarkOneTextManyTasks asks many adapters of one text of MiniLM at once. What it
// tells are ratios of processor time, of the least runs, which take turns: of 200 heads to one, of 200
// LoRAs on the highest two of six layers to what one trunk and 200 tops would take.
func BenchmarkOneTextManyTasks(b *testing.B) {
	m, source, err := models.Open(modeltest.Real(b, "all-MiniLM-L6-v2"), models.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer source.Close()
	const tasks, top = 200, 2
	layers := m.Config().Layers
	leases := func(n int, config map[string]any) (all []*catalogue.Lease) {
		for i := range n {
			config["peft_type"], config["task_type"], config["modules_to_save"] = "LORA", "SEQ_CLS", []string{"classifier"}
			c, err := adapters.NewConfig(config)
			if err != nil {
				b.Fatal(err)
			}
			c.Classes = &models.Classes{Names: models.ClassNames(2 + i%4)}
			a, err := adapters.New(m, c)
			if err != nil {
				b.Fatal(err)
			}
			for j, p := range a.Params() {
				random.New(uint64(i), uint64(j)).Uniform(p.Values().Data, -0.1, 0.1)
			}
			a.Refresh()
			all = append(all, catalogue.LeaseOf(fmt.Sprint(i), a))
		}
		return all
	}
	heads := leases(tasks, map[string]any{"target_modules": "dummy-target-modules"})
	tops := leases(tasks, map[string]any{"r": 8, "target_modules": []string{"query", "value"}, "layers_to_transform": []int{layers - 2, layers - 1}})
	for _, length := range []int{32, 128} {
		b.Run(fmt.Sprintf("%d tokens", length), func(b *testing.B) {
			pool := kernels.NewPool(1)
			defer pool.Close()
			e, err := newEngine(m, nil, pool, Options{})
			if err != nil {
				b.Fatal(err)
			}
			prompt := make([]int32, length)
			for i := range prompt {
				prompt[i] = int32(1000 + i*37)
			}
			ask := func(leases []*catalogue.Lease, best *time.Duration) {
				start := processorTime(b)
				if _, err := e.Submit(context.Background(), &Request{Tasks: leases, Prompt: prompt, Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1}); err != nil {
					b.Fatal(err)
				}
				for e.intake(); e.step(); {
				}
				if d := processorTime(b) - start; *best == 0 || d < *best {
					*best = d
				}
			}
			var oneHead, allHeads, oneTop, allTops time.Duration
			for b.Loop() {
				ask(heads[:1], &oneHead)
				ask(heads, &allHeads)
				ask(tops[:1], &oneTop)
				ask(tops, &allTops)
			}
			trunk := time.Duration(layers-top) * oneTop / time.Duration(layers)
			reckoned := trunk + tasks*(oneTop-trunk)
			b.ReportMetric(float64(oneHead.Microseconds()), "µs/head")
			b.ReportMetric(float64(allHeads)/float64(oneHead), "heads/head")
			b.ReportMetric(float64(allTops)/float64(reckoned), "tops/reckoned")
		})
	}
}

// processorTime is what the process has had so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
