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
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := next(d)
	if err != nil {
		return v, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, errors.New("data after the JSON value")
	}
	return v, nil
}

// next reads one value.
func next(d *json.Decoder) (jinja.Value, error) {
	token, err := d.Token()
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
			return list(d)
		}
		return object(d)
	}
	return jinja.Undefined(), fmt.Errorf("unexpected %v", token)
}

func list(d *json.Decoder) (jinja.Value, error) {
	items := []jinja.Value{}
	for d.More() {
		item, err := next(d)
		if err != nil {
			return item, err
		}
		items = append(items, item)
	}
	_, err := d.Token()
	return jinja.NewList(items), err
}

func object(d *json.Decoder) (jinja.Value, error) {
	v := jinja.NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return v, err
		}
		item, err := next(d)
		if err != nil {
			return v, err
		}
		v.AsDict().Set(key.(string), item)
	}
	_, err := d.Token()
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
