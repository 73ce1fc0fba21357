package serve

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/internal/processor"
)

// The processor time is what the system tells between a look before and one after, and
// no step of 10 ms behind it.
func TestMetricsOfTheProcessor(t *testing.T) {
	if processor.Time() == 0 {
		t.Skip("this system does not tell it")
	}
	s := newSite(t, nil)
	var spent float64
	before := processor.Time().Seconds()
	for _, line := range strings.Split(s.get(t, "/metrics").body, "\n") {
		if text, ok := strings.CutPrefix(line, "process_cpu_seconds_total "); ok {
			var err error
			spent, err = strconv.ParseFloat(text, 64)
			require.NoError(t, err)
		}
	}
	require.GreaterOrEqual(t, spent, before)
	require.LessOrEqual(t, spent, processor.Time().Seconds())
}
