package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// verdict is what becomes of a mutant.
type verdict struct {
	err      error  // why it is refused; nil: it is served
	crash    string // what failed instead
	differs  bool   // a second load answers otherwise
	asked    []int32
	logprobs []float32 // of asked[1:]
}

func (v verdict) String() string {
	switch {
	case v.crash != "":
		return v.crash
	case v.err != nil:
		return v.err.Error()
	}
	return fmt.Sprintf("served, %v", v.logprobs)
}

// judge keeps the bases open that the adapters are for.
type judge struct {
	root  string
	bases map[string]*court
}

// court is a base with an engine and a catalogue.
type court struct {
	base   *base
	engine *runtime.Engine
	known  *catalogue.Catalogue
	stop   func()
}

func newJudge(root string) *judge { return &judge{root, map[string]*court{}} }

func (j *judge) close() {
	for _, c := range j.bases {
		_ = c.known.Close()
		c.stop()
		_ = c.base.source.Close()
	}
}

// adapterBudget bounds what adapters are read: there are files of any size.
const adapterBudget = 64 << 20

func (j *judge) court(dir string) (*court, error) {
	if c, ok := j.bases[dir]; ok {
		return c, nil
	}
	b, err := openBase(dir)
	if err != nil {
		return nil, err
	}
	engine, stop, err := startEngine(b, 1, runtime.Options{NoPrefixCache: true, CacheBlocks: 8})
	if err != nil {
		return nil, err
	}
	known, err := catalogue.New(b.load, catalogue.Options{Size: b.size, Bytes: adapterBudget, Log: silent})
	j.bases[dir] = &court{b, engine, known, stop}
	return j.bases[dir], err
}

// try loads a mutant twice, and asks it each time.
func (j *judge) try(ctx context.Context, s seed, dir string) verdict {
	once := func() (answer, []int32, error) { return tryBase(ctx, dir) }
	if s.adapter {
		c, err := j.court(s.base)
		if err != nil {
			return verdict{err: err}
		}
		once = func() (answer, []int32, error) { return c.try(ctx, dir) }
	}
	first, asked, err := once()
	again, _, errAgain := once()
	first.err, again.err = errors.Join(err, first.err), errors.Join(errAgain, again.err)
	if first.err != nil && again.err != nil { // how far it came before it was found out is no answer
		first, again = answer{err: first.err}, answer{err: again.err}
	}
	v := verdict{err: first.err, asked: asked, differs: !first.same(again)}
	if errors.Is(v.err, catalogue.ErrPanic) || errors.Is(v.err, runtime.ErrPanic) {
		v.crash = v.err.Error()
	}
	for _, t := range first.prompt[min(1, len(first.prompt)):] {
		v.logprobs = append(v.logprobs, t.Logprob.Logprob)
	}
	return v
}

// try loads an adapter as vLLM's route does, and asks it.
func (c *court) try(ctx context.Context, dir string) (answer, []int32, error) {
	const name = "mutant"
	_, err := c.known.Swap(ctx, catalogue.Candidate{
		Name: name, URI: dir, New: true,
		Probe: func(ctx context.Context, a catalogue.Adapter) error { return c.engine.Probe(ctx, name, a) },
	})
	if err != nil {
		return answer{}, nil, err
	}
	defer func() { _ = c.known.Remove(context.Background(), name, nil) }()
	lease, err := c.known.Acquire(name, "")
	if err != nil {
		return answer{}, nil, err
	}
	defer lease.Release()
	text := lease.Tokenizer()
	if text == nil {
		text = c.base.text
	}
	if source := lease.ChatTemplate(); source.Text != "" {
		template, err := source.Compile()
		if err == nil {
			err = converse(ctx, template, text)
		}
		if err != nil {
			return answer{}, nil, fmt.Errorf("its chat template cannot be used: %w", err)
		}
	}
	a, asked := c.base.inquire(ctx, c.engine, lease)
	return a, asked, nil
}

// converse tries a chat template and renders a conversation by it.
func converse(ctx context.Context, template *chat.Template, text *tokenizer.Tokenizer) error {
	template = template.WithTokens(text)
	if err := template.Probe(ctx); err != nil {
		return err
	}
	var hi chat.Message
	if err := json.Unmarshal([]byte(`{"role": "user", "content": "Hi"}`), &hi); err != nil {
		return err
	}
	rendered, err := template.Render(ctx, []chat.Message{hi}, chat.Options{AddGenerationPrompt: true})
	var refused *chat.RaisedError
	if err != nil && !errors.As(err, &refused) && !errors.Is(err, chat.ErrConversation) {
		return err
	}
	_, err = text.Encode(rendered, false)
	return err
}

// tryBase opens a base as the command does, and asks it.
func tryBase(ctx context.Context, dir string) (a answer, asked []int32, err error) {
	path := dir
	if files, _ := filepath.Glob(filepath.Join(dir, "*.gguf")); len(files) > 0 {
		path = files[0]
	}
	model, source, err := models.Open(path, models.Options{})
	if err != nil {
		return a, nil, err
	}
	defer func() { _ = source.Close() }()
	b := &base{model: model, source: source}
	template, err := b.openText(path)
	if err != nil {
		return a, nil, err
	}
	if template != nil {
		if err := converse(ctx, template, b.text); err != nil {
			return a, nil, fmt.Errorf("the base's chat template cannot be used: %w", err)
		}
	}
	recipe, err := b.recipe(path)
	if err != nil {
		return a, nil, err
	}
	engine, stop, err := startEngine(b, 1, runtime.Options{CacheBytes: 16 << 20})
	if err != nil {
		return a, nil, err
	}
	defer stop()
	a, asked = b.inquire(ctx, engine, nil)
	if recipe != nil && a.err == nil {
		embedded := b.embed(ctx, engine, recipe)
		a.encoded, a.err = append(a.encoded, embedded.encoded...), embedded.err
	}
	_ = words(a.err) // which may read the weights while they are there
	return a, asked, nil
}

// openText opens what goes with the weights; nil: there is no chat template.
func (b *base) openText(path string) (template *chat.Template, err error) {
	if b.source.GGUF != nil {
		if b.text, err = tokenizer.FromGGUF(b.source.GGUF); err != nil {
			return nil, err
		}
		template, err = chat.FromGGUF(b.source.GGUF)
	} else {
		if b.text, err = tokenizer.Load(path); err != nil {
			return nil, err
		}
		if err := sampled(filepath.Join(path, "generation_config.json")); err != nil {
			return nil, err
		}
		template, err = chat.Load(path)
	}
	if errors.Is(err, chat.ErrNoTemplate) {
		return nil, nil
	}
	return template, err
}

func sampled(path string) error {
	file, err := regular.Read(path, regular.Config)
	if err != nil {
		return nil // models.Open has seen it
	}
	if _, err := adapters.ParseSamplingDefaults(file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// inquire asks a base, under an adapter or alone, for all that they do: for the
// log-probabilities of a prompt and a few tokens, as far as the context goes; an
// encoder for hidden states; and for the scores of a head.
func (b *base) inquire(ctx context.Context, e *runtime.Engine, lease *catalogue.Lease) (a answer, asked []int32) {
	config := b.model.Config()
	vocabulary, classes := config.Vocabulary, config.Classes
	var invocation []int32
	if own := lease.Adapter(); own != nil {
		vocabulary, invocation = own.Vocabulary(), own.Invocation()
		classes = cmp.Or(own.Classes(), classes)
	}
	prompt := promptFor(e, vocabulary)
	if len(invocation) > 0 {
		prompt = slices.Insert(prompt, len(prompt)/2, invocation...)
	}
	if config.Architecture.Check(models.Generate) == nil {
		a = submitted(ctx, e, &runtime.Request{Prompt: prompt, Lease: lease, MaxTokens: min(4, e.Options().Context-len(prompt)), IgnoreEOS: true, Logprobs: 2, PromptLogprobs: 0})
		asked = prompt
	} else {
		a = submitted(ctx, e, &runtime.Request{Prompt: prompt, Lease: lease, Encode: runtime.EncodeTokens, Logprobs: -1, PromptLogprobs: -1})
	}
	if classes != nil && a.err == nil {
		scores := submitted(ctx, e, &runtime.Request{Prompt: prompt, Lease: lease, Encode: runtime.EncodeScores, Logprobs: -1, PromptLogprobs: -1})
		a.encoded, a.err = append(a.encoded, scores.encoded...), scores.err
	}
	if a.err != nil {
		return a, nil
	}
	return a, asked
}

func promptFor(e *runtime.Engine, vocabulary int) (prompt []int32) {
	for i := range max(min(24, e.Options().Context-4), 1) {
		prompt = append(prompt, int32((7*i*i+3*i+2)%min(vocabulary, 94)))
	}
	return prompt
}

func submitted(ctx context.Context, e *runtime.Engine, r *runtime.Request) answer {
	stream, err := e.Submit(ctx, r)
	if err != nil {
		return answer{err: err}
	}
	return collect(ctx, stream, -1)
}

// recipe reads how texts are embedded; nil: nothing says so.
func (b *base) recipe(path string) (*pooling.Recipe, error) {
	if b.source.GGUF != nil {
		return pooling.FromGGUF(b.source.GGUF)
	}
	recipe, err := pooling.Load(path)
	if err == nil && recipe != nil {
		err = recipe.Check(b.model.Config().Hidden)
	}
	return recipe, err
}

// embed makes an embedding as the base's files say.
func (b *base) embed(ctx context.Context, e *runtime.Engine, recipe *pooling.Recipe) (a answer) {
	a = submitted(ctx, e, &runtime.Request{Prompt: promptFor(e, b.model.Config().Vocabulary), Encode: runtime.EncodeFolded, Pooling: recipe.Modes, Logprobs: -1, PromptLogprobs: -1})
	if a.err != nil {
		return a
	}
	row := recipe.Embedding(a.encoded[0].Row(0))
	a.encoded = []kernels.Matrix{kernels.MatrixOf(1, len(row), row)}
	return a
}
