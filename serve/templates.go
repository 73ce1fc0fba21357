package serve

import (
	"context"
	"fmt"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/chat/jinja"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// A turnTemplate is a chat template whose renderings take turns, since each may
// hold as much memory as its limits allow.
type turnTemplate struct {
	turns  []chan struct{} // a rendering takes one of each
	memory *memory.Account // of which it takes renderingBytes
	open   func() (*chat.Template, error)
	users  map[templateUser]bool // who brings it, of an adapter's; templates.mu guards them
}

// A templateUser is a version of an adapter that brings a template; a part of a
// combination has no digest.
type templateUser struct{ adapter, digest string }

// How many renderings run at a time: of the base's template, of all those of
// adapters and, so that none of them takes all of these, of one.
const (
	baseTurns    = 4
	adapterTurns = 4
	ownTurns     = 1
)

// renderingBytes is what a rendering may hold.
const renderingBytes = jinja.DefaultHeld

// inTurn has f do something with the template.
func (t *turnTemplate) inTurn(ctx context.Context, f func(*chat.Template) error) error {
	for _, turns := range t.turns {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	release, err := t.memory.Take(ctx, memory.Rendering, renderingBytes)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer release()
	template, err := t.open()
	if err != nil {
		return err
	}
	return f(template)
}

func (t *turnTemplate) render(ctx context.Context, messages []chat.Message, o chat.Options) (text string, err error) {
	err = t.inTurn(ctx, func(template *chat.Template) error {
		text, err = template.Render(ctx, messages, o)
		return err
	})
	return text, err
}

// template is the compiled template, of one that has been opened.
func (t *turnTemplate) template() *chat.Template {
	template, err := t.open()
	if err != nil {
		panic(err) // whoever has t has opened it
	}
	return template
}

// templates are the chat templates of the base and of adapters, those by their
// source. They are forgotten with the last version in memory that brings them, and
// the least recently used once there are many.
type templates struct {
	base   *turnTemplate // nil: it has none
	text   *tokenizer.Tokenizer
	turns  chan struct{}
	memory *memory.Account
	known  *lru.Cache[templateKey, *turnTemplate]
	mu     sync.Mutex
}

// A templateKey tells templates of adapters apart: by their source, empty for
// the base's, and by the tokenizer whose special tokens they write.
type templateKey struct {
	source chat.Source
	text   *tokenizer.Tokenizer
}

// maxTemplates is how many templates of adapters are kept.
const maxTemplates = 64

// newTemplates tries the base's template, if it has one.
func newTemplates(base *chat.Template, text *tokenizer.Tokenizer, account *memory.Account) (*templates, error) {
	known, err := lru.New[templateKey, *turnTemplate](maxTemplates)
	if err != nil {
		return nil, err
	}
	t := &templates{text: text, turns: make(chan struct{}, adapterTurns), memory: account, known: known}
	if base == nil {
		return t, nil
	}
	base = base.WithTokens(text)
	if err := base.Probe(context.Background()); err != nil {
		return nil, fmt.Errorf("the base's chat template cannot be used: %w", err)
	}
	t.base = &turnTemplate{
		turns:  []chan struct{}{make(chan struct{}, baseTurns)},
		memory: account,
		open:   func() (*chat.Template, error) { return base, nil },
	}
	return t, nil
}

// of returns the template of that source, which an adapter brings, or the base's with the special
// tokens of the tokenizer that it brings, compiled and tried; nil: the base's as
// it is. brought tells the first case. It is kept while one of the users is in
// memory. An error is that of a template that cannot be used, or ctx's cause.
func (t *templates) of(ctx context.Context, users []templateUser, source chat.Source, text *tokenizer.Tokenizer) (own *turnTemplate, brought bool, err error) {
	key := templateKey{source, text}
	if t.base != nil && t.base.template().Is(key.source) {
		key.source = chat.Source{}
	}
	brought = key.source.Text != ""
	if !brought && (text == t.text || t.base == nil) {
		return nil, false, nil
	}
	own = t.add(key, users)
	if err := own.inTurn(ctx, func(*chat.Template) error { return nil }); err != nil {
		return nil, brought, err
	}
	return own, brought, nil
}

// add returns a template that is compiled and tried when it is first opened.
func (t *templates) add(key templateKey, users []templateUser) *turnTemplate {
	t.mu.Lock()
	defer t.mu.Unlock()
	own, ok := t.known.Get(key)
	if !ok {
		own = t.newTurnTemplate(key)
		t.known.Add(key, own)
	}
	for _, u := range users {
		own.users[u] = true
	}
	return own
}

func (t *templates) newTurnTemplate(key templateKey) *turnTemplate {
	return &turnTemplate{
		turns:  []chan struct{}{make(chan struct{}, ownTurns), t.turns},
		memory: t.memory,
		users:  map[templateUser]bool{},
		open: sync.OnceValues(func() (*chat.Template, error) {
			if key.source.Text == "" {
				return t.base.template().WithTokens(key.text), nil
			}
			template, err := key.source.Compile()
			if err != nil {
				return nil, err
			}
			template = template.WithTokens(key.text)
			return template, template.Probe(context.Background()) // its limits end it
		}),
	}
}

// forget takes note that a version of an adapter has left memory: what it alone
// brought leaves too, and what still renders ends first.
func (t *templates) forget(adapter, digest string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range t.known.Keys() {
		own, _ := t.known.Peek(key)
		delete(own.users, templateUser{adapter, digest})
		delete(own.users, templateUser{adapter: adapter})
		if len(own.users) == 0 {
			t.known.Remove(key)
		}
	}
}

// usersOf are those who bring the template of a lease.
func usersOf(l *catalogue.Lease) (users []templateUser) {
	adapters := l.Adapters()
	if len(adapters) == 1 && adapters[0] == l.Name() {
		return []templateUser{{l.Name(), l.Digest()}}
	}
	for _, name := range adapters {
		users = append(users, templateUser{adapter: name})
	}
	return users
}
