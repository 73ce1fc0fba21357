package training

import (
	"errors"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestEncodersAreRefused: an encoder is not trained, and says so.
func TestEncodersAreRefused(t *testing.T) {
	if _, err := Open(modeltest.Goldens(t, "encoders", "bert"), BaseConfig{}); !errors.Is(err, models.ErrTask) {
		t.Error(err)
	}
}
