package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
)

// strict refuses what encoding/json reads otherwise than it is written: a key
// that an object has twice, of which it keeps the last, and half of a pair of
// UTF-16 surrogates, which it replaces.
func strict(value []byte) error {
	if half := loneSurrogate(value); half != "" {
		return fmt.Errorf("%s is half of a character", half)
	}
	return once(json.NewDecoder(bytes.NewReader(value)), "")
}

// once reads a value and refuses keys that are there twice.
func once(d *json.Decoder, at string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			token, err := d.Token()
			if err != nil {
				return err
			}
			key := token.(string)
			if seen[key] {
				return fmt.Errorf("key %q is there twice%s", key, at)
			}
			seen[key] = true
			if err := once(d, fmt.Sprintf(" in %q", key)); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for d.More() {
			if err := once(d, at); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = d.Token() // the closing bracket
	return err
}

// loneSurrogate is the first escape of valid JSON that is half of a pair
// without the other; empty: there is none.
func loneSurrogate(value []byte) string {
	escaped := func(at int) rune {
		if at+6 > len(value) || value[at] != '\\' || value[at+1] != 'u' {
			return 0
		}
		r, err := strconv.ParseUint(string(value[at+2:at+6]), 16, 16)
		if err != nil {
			return 0
		}
		return rune(r)
	}
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		r := escaped(i)
		switch {
		case !utf16.IsSurrogate(r):
			i++ // over what is escaped
		case utf16.DecodeRune(r, escaped(i+6)) != '\ufffd':
			i += 11
		default:
			return string(value[i : i+6])
		}
	}
	return ""
}
