package chat

import (
	"fmt"
	"strings"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

// maxFault is how many bytes of a template's failure are told.
const maxFault = 4 << 10

// raise is raise_exception.
func raise(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
	v, err := only("raise_exception", "message", args, kwargs)
	if err != nil {
		return nil, err
	}
	message, err := jinja.ToString(v)
	if err != nil {
		return nil, err
	}
	return nil, &RaisedError{short(message)}
}

// short cuts what is told of a template's failure.
func short(message string) string {
	if len(message) <= maxFault {
		return message
	}
	return strings.ToValidUTF8(message[:maxFault], "") + "…"
}

// only is the one argument of a function.
func only(function, name string, args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
	named, ok := kwargs[name]
	switch {
	case len(args) == 1 && len(kwargs) == 0:
		return args[0], nil
	case len(args) == 0 && len(kwargs) == 1 && ok:
		return named, nil
	}
	return nil, fmt.Errorf("%s takes one argument, %s", function, name)
}
