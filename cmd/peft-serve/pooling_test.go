package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Modes whose row does not fit the modules after them are refused by the flag's name.
func TestPoolingThatDoesNotFit(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("../../testdata/goldens/sentences/tiny")))
	log := &shared{}
	require.Equal(t, 1, run(t.Context(), []string{"--base", dir, "--pooling", "mean", "--addr", "127.0.0.1:0"}, console{out: log, err: log}))
	require.Contains(t, log.String(), "--pooling: ")
	require.Contains(t, log.String(), "takes 24 values, and gets 12")
}
