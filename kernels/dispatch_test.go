package kernels

import (
	"strings"
	"testing"
)

// TestChoose: every implementation is found by its name, and the fastest by
// none; what there is not is refused with what there is.
func TestChoose(t *testing.T) {
	was := active
	defer func() { active = was }()
	for _, i := range implementations() {
		if err := Choose(i.name); err != nil || Name() != i.name {
			t.Errorf("%s: %v, in force is %s", i.name, err, Name())
		}
	}
	if err := Choose("portable"); err != nil {
		t.Fatal(err)
	}
	if err := Choose("abacus"); err == nil || !strings.Contains(err.Error(), `no "abacus" kernels: there are portable`) || Name() != "portable" {
		t.Errorf("%v, in force is %s", err, Name())
	}
	if err := Choose(""); err != nil || active != fastest() {
		t.Errorf("%v, in force is %s", err, Name())
	}
}
