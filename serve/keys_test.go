package serve

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/serve/keys"
)

// plainKeys are keys that may do everything.
func plainKeys(t *testing.T, secrets ...string) *keys.Set {
	t.Helper()
	var all []keys.Key
	for i, secret := range secrets {
		key, _, err := keys.Plain(fmt.Sprintf("key-%d", i+1), secret)
		require.NoError(t, err)
		all = append(all, key)
	}
	set, err := keys.NewSet(all)
	require.NoError(t, err)
	return set
}
