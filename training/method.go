package training

import "github.com/peft-serve/peft-serve/models"

// Method decides what is trained.
type Method interface {
	// Begin prepares a step, counted from 0. It returns the parameters that it
	// has frozen, whose optimiser state goes.
	Begin(step int) (frozen []*Parameter)
	// Parameters lists those that carry gradients now, always in one order.
	Parameters() []*Parameter
	// Updated follows the optimiser's step: what is derived from the
	// parameters is made anew.
	Updated()
	// Adapter is what every row is computed with; nil: the base alone.
	Adapter() models.Adapter
}
