package adapters

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/internal/regular"

	"github.com/stretchr/testify/require"
)

// A file that says it is larger than all that is in it is refused before it is read:
// one of a terabyte of zeros, which takes no disk, ended the process.
func TestSparseGGUF(t *testing.T) {
	seeds, err := filepath.Glob("../testdata/goldens/converted/*/model.gguf")
	require.NoError(t, err)
	require.NotEmpty(t, seeds)
	whole, err := os.ReadFile(seeds[0])
	require.NoError(t, err)
	for name, content := range map[string][]byte{"a model": whole, "nothing": nil, "half": whole[:len(whole)/2]} {
		dir := t.TempDir()
		path := filepath.Join(dir, "adapter.gguf")
		require.NoError(t, os.WriteFile(path, content, 0o644))
		require.NoError(t, os.Truncate(path, 1<<40))
		_, err := Open(dir)
		require.ErrorIs(t, err, ErrTensor, name)
		if name == "a model" {
			require.ErrorIs(t, err, regular.ErrSize)
		}
	}
}
