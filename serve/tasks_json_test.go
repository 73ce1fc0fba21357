package serve

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
)

// What is written by hand is what encode writes.
func TestTasksAnswerAsEncoded(t *testing.T) {
	label := "<b> & \"é\"\\ \x80\u2028\n"
	param := "input"
	a := tasksAnswer{openAIHead: openAIHead{ID: "classify-1", Object: "tasks", Created: 7, Model: label}, Usage: inputUsage{3, 3}, Tasks: []taskAnswer{
		{Name: "one", Digest: "d", Task: models.Classify, Problem: models.SingleLabel, Data: []classifyObject{
			{Label: &label, Classes: 2, Probs: []float64{0, math.Copysign(0, -1), 1, 0.1, -2.5, 1e-6, 9.9e-7, -3e-9, 1e20, 1e21, -1e300, 5e-324, 1.0 / 3}, Scores: []labelScore{{label, 0.5}, {"plain", 1e-10}}},
			{Index: 1, Classes: 1},
		}},
		{Name: label, Task: models.Tag, Data: []classifyObject{{Classes: 3, Entities: &[]entity{{Group: "PER", Score: 0.5, Word: label}}}, {Entities: &[]entity{}}}},
		{Name: "none", Digest: "d", Error: &openAIError{Message: label, Param: &param}},
		{},
	}}
	for n := range len(a.Tasks) + 1 {
		some := a
		some.Tasks = a.Tasks[:n]
		want, err := encode(some)
		require.NoError(t, err)
		got, err := some.encode()
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
	for _, o := range []classifyObject{{Probs: []float64{math.NaN()}}, {Scores: []labelScore{{label, math.Inf(1)}}}} {
		_, err := (&tasksAnswer{Tasks: []taskAnswer{{Data: []classifyObject{o}}}}).encode()
		require.Error(t, err)
	}
}
