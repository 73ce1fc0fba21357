package chat

import (
	"errors"
	"fmt"
	"regexp"
	"sync"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

var (
	// ErrNoTemplate is what a model without a chat template gives.
	ErrNoTemplate = errors.New("chat: no chat template")
	// ErrLimits is what a template gives that takes too much.
	ErrLimits = errors.New("chat: template")
	// ErrConversation is a conversation that no template can be given.
	ErrConversation = errors.New("chat")
)

// A RaisedError is a template's own complaint about the conversation, made
// with raise_exception: the caller's fault rather than the template's.
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string { return "chat: the template refuses: " + e.Message }

// A Template turns messages into a prompt.
type Template struct {
	from   Source
	plain  *jinja.Template
	tools  *jinja.Template // for conversations with tools; often the same
	tokens map[string]jinja.Value
	forms  func() forms // what it takes, found out when first needed
	limits jinja.Limits
}

// New compiles a template.
func New(source string) (*Template, error) { return Source{Text: source}.Compile() }

// Compile makes a Template of s.
func (s Source) Compile() (*Template, error) {
	plain, err := compile(s.Text)
	if err != nil {
		return nil, err
	}
	t := &Template{from: s, plain: plain, tools: plain}
	if s.Tools != "" {
		if t.tools, err = compile(s.Tools); err != nil {
			return nil, fmt.Errorf("tool_use: %w", err)
		}
	}
	t.forms = sync.OnceValue(t.findForms)
	return t, nil
}

// maxSource is how many bytes a template may have. Real ones are below 40 KiB.
const maxSource = 256 << 10

func compile(source string) (*jinja.Template, error) {
	if err := checkSize(source); err != nil {
		return nil, err
	}
	if !utf8.ValidString(source) {
		return nil, errors.New("chat: template: it is not valid UTF-8")
	}
	compiled, err := jinja.Compile(source)
	if err != nil {
		return nil, fault(err)
	}
	return compiled, nil
}

func checkSize(source string) error {
	if len(source) > maxSource {
		return fmt.Errorf("chat: template: it is too large: %d bytes, more than %d", len(source), maxSource)
	}
	return nil
}

// fault is an error of the engine as an error of this package.
func fault(err error) error {
	var (
		limit  *jinja.LimitError
		failed *jinja.RuntimeError
	)
	switch {
	case errors.As(err, &limit):
		return fmt.Errorf("%w: %w", ErrLimits, err)
	case errors.As(err, &failed): // it may quote anything
		err = &jinja.RuntimeError{Line: failed.Line, Kind: failed.Kind, Message: short(failed.Message)}
	}
	return fmt.Errorf("chat: template: %w", err)
}

// Text is the template's source, of one for conversations with tools that.
func (t *Template) Text(tools bool) string {
	if tools && t.from.Tools != "" {
		return t.from.Tools
	}
	return t.from.Text
}

// Is reports whether t is made of s, word for word.
func (t *Template) Is(s Source) bool { return t.from == s }

// A Vocabulary tells the special tokens of a model by the names that
// tokenizer_config.json has for them: bos_token, eos_token and so on.
type Vocabulary interface {
	Role(name string) (id int32, ok bool)
	Token(id int32) string
}

// roles are the special tokens that a template may ask for.
var roles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// WithTokens returns the same template for a model with these special tokens.
// As in transformers, one that the model lacks is not defined there.
func (t *Template) WithTokens(v Vocabulary) *Template {
	u := &Template{from: t.from, plain: t.plain, tools: t.tools, tokens: make(map[string]jinja.Value, len(roles))}
	for _, name := range roles {
		if id, ok := v.Role(name); ok {
			u.tokens[name] = jinja.String(v.Token(id))
		}
	}
	u.forms = sync.OnceValue(u.findForms)
	return u
}

// generation is how transformers tells that a template marks what an assistant
// says.
var generation = regexp.MustCompile(`\{%-?\s*generation\s*-?%\}`)

// MarksGeneration reports whether the template marks what an assistant says
// with {% generation %}.
func (t *Template) MarksGeneration() bool {
	return generation.MatchString(t.from.Text) && (t.from.Tools == "" || generation.MatchString(t.from.Tools))
}
