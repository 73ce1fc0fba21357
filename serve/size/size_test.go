package size

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"512MiB": 512 << 20, "2GB": 2e9, "1g": 1 << 30, "0.5 kib": 512, "1536": 1536, "7B": 7, "0": 0,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "MiB", "1Q", "9999999TiB", "nan", "inf", "1e300"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}
