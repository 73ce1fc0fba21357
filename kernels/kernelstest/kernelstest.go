// Package kernelstest has the tests of the packages above kernels computed by
// the implementation that the environment variable PEFT_KERNELS names, as the
// commands are: it is imported for that alone. The tests of kernels run each of
// them.
package kernelstest

import (
	"os"

	"github.com/peft-serve/peft-serve/kernels"
)

func init() {
	if err := kernels.Choose(os.Getenv("PEFT_KERNELS")); err != nil {
		panic(err)
	}
}
