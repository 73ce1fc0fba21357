package serve

import (
	"errors"
	"os"
)

// exchangeByRename swaps two folders in three steps, and undoes them if one
// fails.
func exchangeByRename(a, b string) error {
	aside := a + ".aside"
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Rename(aside, b))
	}
	return os.Rename(aside, a)
}
