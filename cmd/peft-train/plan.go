package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/plan"
)

// planCommand counts before anything is loaded.
type planCommand struct {
	Base    string `help:"A config.json, a folder with one, a GGUF file, an hf:// URI, of which only config.json is fetched, or one of the published models: ${published}." placeholder:"PATH"`
	List    bool   `help:"Print the names of the published models."`
	Method  string `default:"lora" help:"What would be trained: ${methods}."`
	Adapter string `help:"Plan for this adapter's configuration instead of --method." type:"path"`
	Compare bool   `help:"Every method side by side."`
	JSON    bool   `name:"json" help:"Print JSON."`

	training.BaseConfig

	DType     string `name:"dtype" help:"Stored form of the base's matrices: f32, f16, bf16, q8_0, q4_0, q4_1, … (default: what the base says)."`
	BatchSize int    `default:"8" help:"Sequences of a micro-batch."`
	MaxLength int    `default:"512" help:"Tokens of a sequence."`
	Labels    int    `help:"Positions of a sequence that carry a loss (default: all but the last)."`
	Recompute bool   `name:"gradient-checkpointing" help:"Compute activations twice and keep one a block."`
	Optimizer string `default:"adamw" enum:"adamw,sgd,none" help:"adamw, sgd (with momentum) or none (plain SGD)."`

	adapters.Choice

	LISALayers    int  `name:"lisa-layers" help:"Blocks that LISA trains at once (default 2)."`
	FreezeOutside bool `name:"freeze-embeddings" help:"LISA and block-wise: leave embedding, final norm and head alone."`
	GaloreRank    int  `default:"128" help:"GaLore: rank of the projected gradient."`
	NumClasses    int  `default:"2" help:"Classes of the head that an encoder trains too."`

	Objective string `enum:",contrastive" default:"" help:"contrastive: plan for embeddings, of --batch-size pairs of texts of --max-length each; nothing: what else the base learns."`
}

// planned is one method's plan.
type planned struct {
	Method    string        `json:"method"`
	Refused   string        `json:"refused,omitempty"`
	Trainable int           `json:"trainable"`
	Share     float64       `json:"share"`
	Memory    *plan.Account `json:"memory,omitempty"`
	Total     int           `json:"total_bytes,omitempty"`
	FLOPs     *plan.FLOPs   `json:"flops,omitempty"`
	Lecture   *plan.Lecture `json:"lecture,omitempty"`
}

// Run prints the plan.
func (p *planCommand) Run(ctx context.Context, c console) error {
	if p.List {
		_, err := fmt.Fprintln(c.out, strings.Join(plan.Published(), "\n"))
		return err
	}
	p.Method = training.Spelt(p.Method)
	if err := p.check(); err != nil {
		return err
	}
	base, err := openShape(ctx, p.Base, p.BaseConfig, c)
	if err != nil {
		return err
	}
	if p.DType != "" {
		f, err := format(p.DType)
		if err != nil {
			return err
		}
		base = base.As(f)
	}
	if err := p.fits(base); err != nil {
		return err
	}
	if p.Objective != "" {
		recipe, err := base.Embeddings()
		if err != nil {
			return fmt.Errorf("--objective %s: %w", p.Objective, err)
		}
		c.note("embeddings: %s", recipe.Describe())
		if longest := recipe.Longest(p.MaxLength); longest < p.MaxLength {
			c.note("--max-length: %d tokens, the most that the base makes an embedding of (%s)", longest, recipe.MaxFrom)
			p.MaxLength = longest
		}
	}
	if flags := training.Idle(p.Method, p.Choice); len(flags) > 0 && !p.Compare && p.Adapter == "" {
		c.note("without effect: %s (with --method %s)", strings.Join(flags, ", "), p.Method)
	}
	methods := []string{p.Method}
	if p.Compare {
		methods = plan.Methods()
	}
	var all []planned
	for _, m := range methods {
		one, err := p.plan(base, m)
		if err != nil && (!p.Compare || errors.Is(err, errUsage)) {
			return err
		}
		if err != nil {
			one = planned{Method: m, Refused: err.Error()}
		}
		all = append(all, one)
	}
	switch {
	case p.JSON:
		return writeJSON(c.out, map[string]any{
			"base": base.Name, "parameters": base.Parameters(), "batch_size": p.BatchSize, "max_length": p.MaxLength, "methods": all,
		})
	case p.Compare:
		return p.side(c.out, base, all)
	}
	return p.one(c.out, base, all[0])
}

// check reports everything that is wrong with the arguments.
func (p *planCommand) check() error {
	var wrong []error
	if p.Base == "" {
		wrong = append(wrong, errors.New("--base: is missing; --list has the models that need no file"))
	}
	if !slices.Contains(plan.Methods(), p.Method) {
		wrong = append(wrong, fmt.Errorf("--method: %q is not one of %s", p.Method, strings.Join(plan.Methods(), ", ")))
	}
	wrong = append(wrong, atLeast(1, map[string]int{"batch-size": p.BatchSize}), atLeast(2, map[string]int{"max-length": p.MaxLength}), atLeast(1, map[string]int{"num-classes": p.NumClasses}),
		atLeast(0, map[string]int{"labels": p.Labels, "r": p.R, "adapter-drop": p.AdapterDrop, "num-virtual-tokens": p.VirtualTokens, "lisa-layers": p.LISALayers}))
	if p.Objective != "" && (p.Labels > 0 || p.Adapter != "") {
		wrong = append(wrong, fmt.Errorf("--labels and --adapter: go without --objective %s", p.Objective))
	}
	if p.Labels >= p.MaxLength {
		wrong = append(wrong, fmt.Errorf("--labels: %d of %d positions cannot carry a loss", p.Labels, p.MaxLength))
	}
	if !(p.Alpha >= 0) {
		wrong = append(wrong, fmt.Errorf("--lora-alpha: %g, want 0 or more", p.Alpha))
	}
	if !(p.Reduction >= 0) {
		wrong = append(wrong, fmt.Errorf("--reduction-factor: %g, want 0 or more", p.Reduction))
	}
	if !(p.Dropout >= 0 && p.Dropout < 1) {
		wrong = append(wrong, fmt.Errorf("--lora-dropout: %g, want at least 0 and less than 1", p.Dropout))
	}
	return faultsOf(wrong)
}

// fits reports what the base has not.
func (p *planCommand) fits(base *plan.Base) error {
	var wrong []error
	if layers := base.Config().Layers; p.LISALayers > layers {
		wrong = append(wrong, fmt.Errorf("--lisa-layers: %d, the base has %d blocks", p.LISALayers, layers))
	}
	if r, ok := adapters.FindRecipe(p.Method); ok && r.Check != nil {
		wrong = append(wrong, r.Check(base, &p.Choice))
	}
	return faultsOf(wrong)
}

func format(name string) (kernels.Format, error) {
	var known []string
	for _, f := range kernels.Formats() {
		if strings.EqualFold(f.String(), name) {
			return f, nil
		}
		known = append(known, strings.ToLower(f.String()))
	}
	return 0, fmt.Errorf("%w: --dtype %s, want one of %s", errUsage, name, strings.Join(known, ", "))
}

func (p *planCommand) plan(base *plan.Base, method string) (planned, error) {
	var trained *plan.Trained
	var err error
	if p.Adapter != "" && !p.Compare {
		trained, err = p.adapter(base)
	} else {
		trained, err = base.Train(plan.Choice{
			Method: method, Choice: p.choice(method), LISALayers: p.LISALayers, FreezeOutside: p.FreezeOutside, GaloreRank: p.GaloreRank, Classes: p.NumClasses, Embeddings: p.Objective != "",
		})
	}
	if err != nil {
		return planned{}, err
	}
	if p.Labels > 0 && trained.Head() == models.Classify {
		return planned{}, fmt.Errorf("%w: --labels: a head that classifies texts has one of each", errUsage)
	}
	trained.Recompute = p.Recompute
	run := plan.Run{Batch: plan.Batch{Sequences: p.BatchSize, Length: p.MaxLength, Labels: p.Labels}, Optimizer: p.Optimizer}
	account, flops := trained.Account(run), trained.FLOPs(run.Batch)
	lecture := base.Lecture(float64(trained.Parameters()), 2, p.BatchSize*p.MaxLength)
	one := planned{
		Method: trained.Method, Trainable: trained.Parameters(), Share: trained.Share(),
		Memory: &account, FLOPs: &flops, Lecture: &lecture,
	}
	if account.Measured { // without activations there is no total
		one.Total = account.Total()
	}
	return one, nil
}

func (p *planCommand) adapter(base *plan.Base) (*plan.Trained, error) {
	path := p.Adapter
	if filepath.Base(path) != adapters.ConfigFile {
		path = filepath.Join(path, adapters.ConfigFile)
	}
	raw, err := regular.Text(path, regular.Config)
	if err != nil {
		return nil, err
	}
	config, err := adapters.ParseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return base.TrainAdapter(config, adapters.Training{Dropout: p.Dropout})
}

// choice leaves out of a comparison what the method does not read.
func (p *planCommand) choice(method string) adapters.Choice {
	c := p.Choice
	for flag, list := range map[string]*[]string{"target-modules": &c.Targets, "exclude-modules": &c.Exclude, "modules-to-save": &c.Save} {
		if p.Compare && !slices.Contains(training.Reads(method), flag) {
			*list = nil
		}
	}
	if p.Compare {
		c.Set = nil
	}
	return c
}

// one prints the plan of one method.
func (p *planCommand) one(w io.Writer, base *plan.Base, m planned) error {
	if _, err := fmt.Fprintf(w, "%s: %s parameters\n%s: %s trained, %.4g %%\n\nMemory of %d × %d tokens\n", base.Name,
		grouped(base.Parameters()), m.Method, grouped(m.Trainable), 100*m.Share, p.BatchSize, p.MaxLength); err != nil {
		return err
	}
	t := &table{}
	for _, c := range m.Memory.Categories() {
		if !m.Memory.Measured && c.Bytes == 0 {
			continue
		}
		t.row("  "+c.Name, grouped(c.Bytes), byteSize(float64(c.Bytes)))
	}
	if m.Memory.Measured {
		t.row("  total", grouped(m.Total), byteSize(float64(m.Total)))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if !m.Memory.Measured {
		if _, err := fmt.Fprintln(w, "  (no total: the adapter has no head, so that nothing says what it learns, and its activations are not known)"); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w, "\nOne step"); err != nil {
		return err
	}
	f := &table{}
	f.row("  forward", scaled(m.FLOPs.Forward, "FLOP"))
	f.row("  backward", scaled(m.FLOPs.Backward, "FLOP"))
	f.row("  attention", scaled(m.FLOPs.AttentionForward+m.FLOPs.AttentionBackward, "FLOP"))
	if m.FLOPs.Step > 0 {
		f.row("  norms of DoRA", scaled(m.FLOPs.Step, "FLOP"))
	}
	if err := f.write(w); err != nil {
		return err
	}
	l := m.Lecture
	_, err := fmt.Fprintf(w, "\nThe lecture's account, all in 16 bit: %s model + %s gradients + %s Adam + %s activations = %s\n",
		byteSize(l.Model), byteSize(l.Gradients), byteSize(l.Optimizer), byteSize(l.Activations), byteSize(l.Total()))
	return err
}

// side prints the methods side by side.
func (p *planCommand) side(w io.Writer, base *plan.Base, all []planned) error {
	if _, err := fmt.Fprintf(w, "%s: %s parameters, %d × %d tokens\n\n", base.Name, grouped(base.Parameters()), p.BatchSize, p.MaxLength); err != nil {
		return err
	}
	t := &table{}
	t.row("method", "trained", "%", "weights", "adapter", "gradients", "optimizer", "pass", "total", "forward", "backward", "lecture")
	var notes []string
	for _, m := range all {
		if m.Refused != "" {
			t.row(m.Method, "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-")
			notes = append(notes, m.Method+": "+m.Refused)
			continue
		}
		a := m.Memory
		size := func(n int) string { return byteSize(float64(n)) }
		pass, total := size(a.Pass()), size(m.Total)
		if !a.Measured {
			pass, total = "-", "-"
		}
		t.row(m.Method, grouped(m.Trainable), fmt.Sprintf("%.3f", 100*m.Share), size(a.Weights+a.Widened), size(a.Adapter), size(a.Gradients),
			size(a.Optimizer), pass, total, scaled(m.FLOPs.Forward+m.FLOPs.AttentionForward, "FLOP"),
			scaled(m.FLOPs.Backward+m.FLOPs.AttentionBackward+m.FLOPs.Step, "FLOP"), byteSize(m.Lecture.Total()))
	}
	if err := t.write(w); err != nil {
		return err
	}
	notes = append(notes, "", "lecture: the usual account for comparison, all in 16 bit: model, gradients of what is trained, two moments of Adam, activations")
	for _, n := range notes {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	return nil
}
