package deploy

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExamples decodes what is not of the chart.
func TestExamples(t *testing.T) {
	for _, folder := range []string{"routing", "training", "autoscaling"} {
		files, err := filepath.Glob(folder + "/*.yaml")
		require.NoError(t, err)
		require.NotEmpty(t, files, folder)
		for _, file := range files {
			t.Run(file, func(t *testing.T) { decodeAll(t, file, read(t, file)) })
		}
	}
}
