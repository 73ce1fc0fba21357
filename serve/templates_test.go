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
	all, err := newTemplates(base, testTokenizer(t), nil)
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
	first, second := all.add(key("first"), nil), all.add(key("second"), nil)
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
	require.Same(t, first, all.add(key("first"), nil), "of a request at the same time")
}

// A template leaves with the last version in memory that brings it, one of a
// combination with the last of its parts.
func TestTemplatesLeaveWithTheirAdapters(t *testing.T) {
	all, err := newTemplates(nil, testTokenizer(t), nil)
	require.NoError(t, err)
	source := chat.Source{Text: "{{ messages[0].content }}"}
	use := func(source chat.Source, users ...templateUser) {
		_, brought, err := all.of(t.Context(), users, source, all.text)
		require.NoError(t, err)
		require.True(t, brought)
	}
	use(source, templateUser{"a", "1"})
	use(source, templateUser{"b", "1"})
	use(source, templateUser{adapter: "a"}, templateUser{adapter: "c"})
	use(chat.Source{Text: "other"}, templateUser{"a", "2"})
	for _, gone := range []struct {
		adapter, digest string
		left            int
	}{{"a", "1", 2}, {"d", "1", 2}, {"c", "7", 2}, {"b", "1", 1}, {"a", "1", 1}, {"a", "2", 0}} {
		all.forget(gone.adapter, gone.digest)
		require.Equal(t, gone.left, all.known.Len(), gone)
	}
}
