package downloads

import (
	"bytes"
	"fmt"
	"testing"
)

// TestLog: a log gets the first and the last of a file, whether its size is known
// or not, and no line for each part that comes.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	d := New(&out, func(n int64) string { return fmt.Sprint(n, " bytes") })
	for done := int64(0); done <= 100; done++ {
		d.Show("owner/name", "a", done, 100)
	}
	d.Show("owner/name", "b", 7, -1)
	d.Show("owner/name", "c", 0, 0)
	d.End()
	want := "owner/name/a: 0 bytes of 100 bytes, 0 %\nowner/name/a: 100 bytes, done\nowner/name/b: 7 bytes\nowner/name/c: 0 bytes, done\n"
	if got := out.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
