package processor

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimeIn(t *testing.T) {
	got, err := timeIn([]byte("812 (a (b) 7) S 1 812 812 0 -1 4194560 900 0 3 0 123 45 9 9 20 0 5 0 22 1000\n"))
	require.NoError(t, err)
	require.Equal(t, 1680*time.Millisecond, got)
	for _, stat := range []string{"", "812 (a) S 1 812 812 0 -1 4194560 900 0 3 0 123", "812 (a) S 1 812 812 0 -1 4194560 900 0 3 0 x 45 9"} {
		_, err := timeIn([]byte(stat))
		require.ErrorContains(t, err, "has no times of a process", stat)
	}
}

func TestTimeOf(t *testing.T) {
	_, err := TimeOf(1 << 30) // above what Linux numbers
	require.ErrorContains(t, err, "no process 1073741824 here")
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc: TimeOf tells nothing here")
	}
	_, err = TimeOf(os.Getpid())
	require.NoError(t, err)
}

func TestName(t *testing.T) {
	if n := Name(); n == "" || strings.TrimSpace(n) != n {
		t.Errorf("%q", n)
	}
}
