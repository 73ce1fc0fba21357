package training

import (
	"fmt"
	"math"
	"reflect"
)

// numberRange is what a number of a Config may be: each names its own in the
// tag "is", which holds for every number of a list or a map.
type numberRange struct {
	holds func(v float64) bool
	want  string
}

var ranges = map[string]numberRange{
	"count":    {func(v float64) bool { return v >= 1 }, "at least 1"},
	"amount":   {func(v float64) bool { return v >= 0 }, "0 or more"},
	"positive": {func(v float64) bool { return v > 0 }, "more than 0"},
	"share":    {func(v float64) bool { return v >= 0 && v < 1 }, "at least 0 and less than 1"},
}

// numbers calls fault for each number of a struct's settings that is out of its
// range; NaN and what is not finite are out of all of them.
func numbers(settings reflect.Value, fault func(flag, format string, a ...any)) {
	for i := range settings.NumField() {
		f, v := settings.Type().Field(i), settings.Field(i)
		if f.Anonymous {
			numbers(v, fault)
			continue
		}
		r, ok := ranges[f.Tag.Get("is")]
		if !ok {
			continue
		}
		flag := flagName(f)
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				r.check(v.Elem(), flag, "", fault)
			}
		case reflect.Slice:
			for k := range v.Len() {
				r.check(v.Index(k), flag, "", fault)
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				r.check(v.MapIndex(key), flag, fmt.Sprintf(" for %q", key), fault)
			}
		default:
			r.check(v, flag, "", fault)
		}
	}
}

// check calls fault where the range does not hold v, of a flag and an entry.
func (r numberRange) check(v reflect.Value, flag, entry string, fault func(flag, format string, a ...any)) {
	var number float64
	if v.CanFloat() {
		number = v.Float()
	} else {
		number = float64(v.Int())
	}
	switch {
	case !r.holds(number), math.IsInf(number, 0):
		fault(flag, "%v%s, want %s", v, entry, r.want)
	case v.Kind() == reflect.Int && number > math.MaxInt32:
		fault(flag, "%v%s, want no more than %d", v, entry, math.MaxInt32)
	}
}
