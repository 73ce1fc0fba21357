package serve

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models/chat"
)

// Renderings take turns: no adapter's template takes all of them, and one that
// waits ends with its client.
func TestTemplatesTakeTurns(t *testing.T) {
	base, err := chat.New("base")
	require.NoError(t, err)
	all, err := newTemplates(base, testTokenizer(t))
	require.NoError(t, err)
	gone := errors.New("the client is gone")
	left, leave := context.WithCancelCause(t.Context())
	leave(gone)
	waits := func(template *turnTemplate) bool {
		err := template.inTurn(left, func(*chat.Template) error { return nil })
		require.True(t, err == nil || errors.Is(err, gone), err)
		return err != nil
	}

	key := func(text string) templateKey { return templateKey{chat.Source{Text: text}, all.text} }
	first, second := all.add(key("first")), all.add(key("second"))
	require.NoError(t, first.inTurn(t.Context(), func(*chat.Template) error {
		require.True(t, waits(first), "while it renders")
		return second.inTurn(t.Context(), func(*chat.Template) error { return nil })
	}))
	for range adapterTurns {
		all.turns <- struct{}{}
	}
	require.True(t, waits(second), "while as many others render")
	text, err := all.base.render(t.Context(), nil, chat.Options{})
	require.NoError(t, err)
	require.Equal(t, "base", text, "nobody else's turn is taken")
	for range baseTurns {
		all.base.turns[0] <- struct{}{}
	}
	require.True(t, waits(all.base))
	require.Same(t, first, all.add(key("first")), "of a request at the same time")
}
