package adapters

import "errors"

// What is wrong with an adapter that is refused. Every error of Open and Load
// wraps one of these and names the folder and the key, module or tensor.
var (
	// ErrConfig: adapter_config.json is malformed, or asks for something that
	// is not implemented.
	ErrConfig = errors.New("adapter configuration")
	// ErrMethod: the peft_type is not implemented.
	ErrMethod = errors.New("adapter method is not implemented")
	// ErrTarget: a module that the configuration names is not in the base, or
	// cannot be adapted so.
	ErrTarget = errors.New("adapter target")
	// ErrTensor: a tensor is missing, unexpected, misshapen, of an unusable
	// type or not finite.
	ErrTensor = errors.New("adapter tensor")
	// ErrBase: the adapter belongs to another base, or to one that its
	// initialisation has changed.
	ErrBase = errors.New("adapter does not fit the base")
)
