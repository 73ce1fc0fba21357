//go:build !unix

package main

import (
	"context"
	"errors"
	"time"
)

// processorTime is not to be had.
func processorTime(context.Context) (time.Duration, error) {
	return 0, errors.New("this system does not tell the processor time: measure on Linux, macOS or a BSD")
}
