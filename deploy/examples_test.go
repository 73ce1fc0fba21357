package deploy

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExamples decodes what is not of the chart.
func TestExamples(t *testing.T) {
	for _, folder := range []string{"routing", "training", "batch", "autoscaling"} {
		files, err := filepath.Glob(folder + "/*.yaml")
		require.NoError(t, err)
		require.NotEmpty(t, files, folder)
		for _, file := range files {
			t.Run(file, func(t *testing.T) { decodeAll(t, file, read(t, file)) })
		}
	}
}

// What peft-train tells of a TrainJob is what Trainer keeps of its status.
func TestTrainerStatus(t *testing.T) {
	said := read(t, "trainer-status.json")
	job := "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: x}\nspec: {runtimeRef: {name: r}}\nstatus: "
	_, err := decode(t, job+said)
	require.NoError(t, err)
	for wrong, want := range map[string]string{`"progressPercentage": 101`: "progressPercentage", `"progressPercentages": 45`: "unknown field status.trainerStatus.progressPercentages"} {
		_, err := decode(t, job+strings.Replace(said, `"progressPercentage": 45`, wrong, 1))
		require.ErrorContains(t, err, want)
	}
}
