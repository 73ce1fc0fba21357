package chat

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/models/chat/jinja"
)

// clock is strftime_now at a given time; zero is the current time.
func clock(now time.Time) func([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
	return func(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
		v, err := only("strftime_now", "format", args, kwargs)
		if err != nil {
			return nil, err
		}
		format, ok := jinja.Text(v)
		if !ok {
			return nil, errors.New("strftime_now takes a format")
		}
		at := now
		if at.IsZero() {
			at = time.Now()
		}
		text, err := strftime(at, format)
		return jinja.String(text), err
	}
}

// strftime writes t by a format of Python's strftime, in the C locale. A flag
// between the percent sign and the letter changes how the field is padded (-, _
// and 0) or its case (^). A directive that is not known is an error.
func strftime(t time.Time, format string) (string, error) {
	var b strings.Builder
	for {
		text, rest, found := strings.Cut(format, "%")
		b.WriteString(text)
		if !found {
			return b.String(), nil
		}
		var flag byte
		if rest != "" && strings.IndexByte("-_0^", rest[0]) >= 0 {
			flag, rest = rest[0], rest[1:]
		}
		if rest == "" {
			return "", fmt.Errorf("strftime_now: %q ends in a directive", format)
		}
		field, ok := fieldOf(t, rest[0], flag)
		if !ok {
			return "", fmt.Errorf("strftime_now: %%%c is not supported", rest[0])
		}
		b.WriteString(field)
		format = rest[1:]
	}
}

// fieldOf is what one directive writes.
func fieldOf(t time.Time, directive, flag byte) (field string, ok bool) {
	if layout, ok := layouts[directive]; ok {
		if field = t.Format(layout); flag == '^' {
			field = strings.ToUpper(field)
		}
		return field, true
	}
	var number int
	width, pad := 2, byte('0')
	year, week := t.ISOWeek()
	switch directive {
	case 'Y':
		number, width = t.Year(), 1
	case 'C':
		number = t.Year() / 100
	case 'y':
		number = t.Year() % 100
	case 'G':
		number, width = year, 1
	case 'g':
		number = year % 100
	case 'V':
		number = week
	case 'm':
		number = int(t.Month())
	case 'd':
		number = t.Day()
	case 'e':
		number, pad = t.Day(), ' '
	case 'j':
		number, width = t.YearDay(), 3
	case 'H':
		number = t.Hour()
	case 'k':
		number, pad = t.Hour(), ' '
	case 'I':
		number = (t.Hour()+11)%12 + 1
	case 'l':
		number, pad = (t.Hour()+11)%12+1, ' '
	case 'M':
		number = t.Minute()
	case 'S':
		number = t.Second()
	case 'f':
		number, width = t.Nanosecond()/1000, 6
	case 'u':
		number, width = (int(t.Weekday())+6)%7+1, 1
	case 'w':
		number, width = int(t.Weekday()), 1
	case 'U':
		number = (t.YearDay() + 6 - int(t.Weekday())) / 7
	case 'W':
		number = (t.YearDay() + 6 - (int(t.Weekday())+6)%7) / 7
	default:
		return "", false
	}
	switch flag {
	case '-':
		width = 1
	case '_':
		pad = ' '
	case '0':
		pad = '0'
	}
	field = fmt.Sprint(number)
	return strings.Repeat(string(pad), max(0, width-len(field))) + field, true
}

// layouts are the directives that write words, or several fields, as Go
// layouts. The time that strftime_now tells has no zone in Python, so %Z and %z
// write nothing.
var layouts = map[byte]string{
	'B': "January", 'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'p': "PM", 'P': "pm", 'Z': "", 'z': "",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM", 'D': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006",
	'x': "01/02/06", 'X': "15:04:05", '%': "%", 'n': "\n", 't': "\t",
}
