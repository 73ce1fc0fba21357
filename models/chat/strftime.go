package chat

import (
	"fmt"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

// clock is strftime_now at a given time; zero is the current time.
func clock(now time.Time) func([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
	return func(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
		format, err := only("strftime_now", "format", args, kwargs)
		if err != nil {
			return nil, err
		}
		layout, ok := jinja.Text(format)
		if !ok {
			return nil, fmt.Errorf("strftime_now takes a format")
		}
		at := now
		if at.IsZero() {
			at = time.Now()
		}
		text, err := strftime(at, layout)
		return jinja.String(text), err
	}
}

// directives are Python's, in the C locale, as Go layouts. The time that
// strftime_now tells has no zone there, so %Z and %z write nothing.
var directives = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'j': "002", 'H': "15", 'I': "03", 'M': "04", 'S': "05",
	'B': "January", 'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'p': "PM", 'Z': "", 'z': "",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006",
	'x': "01/02/06", 'X': "15:04:05",
}

// strftime writes t by a format of Python's strftime. "%-d" is "%d" without
// its leading zero. A directive that is not known is an error.
func strftime(t time.Time, format string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := i < len(format) && format[i] == '-'
		if bare {
			i++
		}
		if i == len(format) {
			return "", fmt.Errorf("strftime_now: %q ends in a directive", format)
		}
		if format[i] == '%' {
			b.WriteByte('%')
			continue
		}
		layout, ok := directives[format[i]]
		if !ok {
			return "", fmt.Errorf("strftime_now: %%%c is not supported", format[i])
		}
		text := t.Format(layout)
		if bare {
			if trimmed := strings.TrimLeft(text, "0 "); trimmed != "" {
				text = trimmed
			} else {
				text = "0"
			}
		}
		b.WriteString(text)
	}
	return b.String(), nil
}
