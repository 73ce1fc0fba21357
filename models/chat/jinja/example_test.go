package jinja_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

func Example() {
	t, err := jinja.Compile(`
{%- for m in messages %}
<|{{ m.role }}|>{% generation %}{{ m.content | trim }}{% endgeneration %}
{% endfor %}`)
	if err != nil {
		panic(err)
	}
	messages, err := jinja.FromJSON([]byte(`[{"role": "user", "content": " hi "}]`))
	if err != nil {
		panic(err)
	}
	out, err := t.Render(context.Background(), map[string]jinja.Value{"messages": messages}, jinja.Limits{})
	if err != nil {
		panic(err)
	}
	fmt.Println(out.Text)
	for _, s := range out.Generated {
		fmt.Println(out.Text[s.Start:s.End])
	}
	fmt.Println(t.Names(), t.Attributes())
	// Output:
	// <|user|>hi
	// hi
	// [messages] [content role]
}

// A template that raises an exception of the caller's ends with its error.
func ExampleNewFunction() {
	refused := errors.New("roles must alternate")
	t, err := jinja.Compile(`{{ raise_exception('roles') }}`)
	if err != nil {
		panic(err)
	}
	raise := jinja.NewFunction("raise_exception", func(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
		why, _ := jinja.Text(args[0])
		return nil, fmt.Errorf("%s: %w", why, refused)
	})
	_, err = t.Render(context.Background(), map[string]jinja.Value{"raise_exception": raise}, jinja.Limits{})
	fmt.Println(err, errors.Is(err, refused))
	// Output: roles: roles must alternate true
}
