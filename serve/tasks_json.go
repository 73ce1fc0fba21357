package serve

import (
	"math"
	"slices"
	"strconv"
)

// The answer of many tasks is written as encode writes it, but by hand: what is the same
// for each of hundreds of tasks is not found out anew for each.

// mostGrown is the room that is made at once for tasks that are still to be written: one
// long answer before many short ones takes no more.
const mostGrown = 256 << 10

// encode is encode of the whole answer.
func (a *tasksAnswer) encode() ([]byte, error) {
	b, err := encode(a.openAIHead)
	if err != nil {
		return nil, err
	}
	b = append(b[:len(b)-1], `,"tasks":[`...)
	for i := range a.Tasks {
		if i == 1 { // the others are mostly as long as the first, which may be long
			b = slices.Grow(b, min(len(b)*len(a.Tasks), mostGrown))
		}
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = a.Tasks[i].append(b); err != nil {
			return nil, err
		}
	}
	usage, err := encode(a.Usage)
	if err != nil {
		return nil, err
	}
	b = append(append(b, `],"usage":`...), usage...)
	return append(b, '}'), nil
}

// append appends a task's answer.
func (a *taskAnswer) append(b []byte) ([]byte, error) {
	b = appendText(append(b, `{"name":`...), a.Name)
	for _, f := range []struct{ name, value string }{{"digest", a.Digest}, {"task", string(a.Task)}, {"problem_type", string(a.Problem)}} {
		if f.value != "" {
			b = append(append(append(b, `,"`...), f.name...), `":`...)
			b = appendText(b, f.value)
		}
	}
	for i := range a.Data {
		if i == 0 {
			b = append(b, `,"data":[`...)
		} else {
			b = append(b, ',')
		}
		var err error
		if b, err = a.Data[i].append(b); err != nil {
			return nil, err
		}
	}
	if len(a.Data) > 0 {
		b = append(b, ']')
	}
	if a.Error != nil {
		text, err := encode(a.Error)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"error":`...), text...)
	}
	return append(b, '}'), nil
}

// append appends what became of a text.
func (o *classifyObject) append(b []byte) (_ []byte, err error) {
	b = strconv.AppendInt(append(b, `{"index":`...), int64(o.Index), 10)
	if o.Label != nil {
		b = appendText(append(b, `,"label":`...), *o.Label)
	}
	for i, p := range o.Probs {
		if i == 0 {
			b = append(b, `,"probs":[`...)
		} else {
			b = append(b, ',')
		}
		if b, err = appendNumber(b, p); err != nil {
			return nil, err
		}
	}
	if len(o.Probs) > 0 {
		b = append(b, ']')
	}
	b = strconv.AppendInt(append(b, `,"num_classes":`...), int64(o.Classes), 10)
	for i, s := range o.Scores {
		if i == 0 {
			b = append(b, `,"scores":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"label":`...), s.Label)
		if b, err = appendNumber(append(b, `,"score":`...), s.Score); err != nil {
			return nil, err
		}
		b = append(b, '}')
	}
	if len(o.Scores) > 0 {
		b = append(b, ']')
	}
	if o.Entities != nil {
		text, err := encode(o.Entities)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"entities":`...), text...)
	}
	return append(b, '}'), nil
}

// appendText appends a string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := encode(s) // which fails for no string
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendNumber appends a number, which has to be finite.
func appendNumber(b []byte, f float64) ([]byte, error) {
	if size := math.Abs(f); size == 0 || size >= 1e-6 && size < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64), nil
	}
	text, err := encode(f)
	return append(b, text...), err
}
