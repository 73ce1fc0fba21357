package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// ordered reads JSON into the values of a template. Objects keep the order of
// their keys, and integers stay integers.
func ordered(data []byte) (jinja.Value, error) {
	r := reader{json.NewDecoder(bytes.NewReader(data))}
	r.UseNumber()
	v, err := r.next()
	if err != nil {
		return v, err
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return v, errors.New("data after the JSON value")
	}
	return v, nil
}

type reader struct{ *json.Decoder }

// next reads one value.
func (r reader) next() (jinja.Value, error) {
	token, err := r.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return jinja.Undefined(), err
	}
	switch token := token.(type) {
	case nil:
		return jinja.None(), nil
	case bool:
		return jinja.NewBool(token), nil
	case string:
		return jinja.NewString(token), nil
	case json.Number:
		return number(string(token))
	case json.Delim:
		if token == '[' {
			return r.list()
		}
		return r.object()
	}
	return jinja.Undefined(), fmt.Errorf("unexpected %v", token)
}

func (r reader) list() (jinja.Value, error) {
	items := []jinja.Value{}
	for r.More() {
		item, err := r.next()
		if err != nil {
			return item, err
		}
		items = append(items, item)
	}
	_, err := r.Token()
	return jinja.NewList(items), err
}

func (r reader) object() (jinja.Value, error) {
	v := jinja.NewDict()
	for r.More() {
		key, err := r.Token()
		if err != nil {
			return v, err
		}
		item, err := r.next()
		if err != nil {
			return v, err
		}
		v.AsDict().Set(key.(string), item)
	}
	_, err := r.Token()
	return v, err
}

// number reads an integer as an integer. One that does not fit 64 bits is an
// error: as a float it would be printed as another number.
func number(text string) (jinja.Value, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		return jinja.NewFloat(f), err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return jinja.NewInt(n), err
}
