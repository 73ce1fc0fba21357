package training

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// notZero are the numbers for which zero stands for nothing.
var notZero = []string{
	"batch-size", "grad-accum", "num-virtual-tokens", "lisa-layers", "lisa-interval", "block-interval", "galore-rank",
	"galore-update-proj-gap", "galore-scale", "adam-epsilon", "loraplus-lr-embedding", "rank-pattern", "alpha-pattern", "class-weights",
}

// TestNumbers puts into every number of a Config what no number may be, and
// demands that it is refused by name, whatever the method and whatever else
// makes it matter less.
func TestNumbers(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		element := f.Type
		switch f.Type.Kind() {
		case reflect.Slice, reflect.Map, reflect.Pointer:
			element = f.Type.Elem()
		}
		wrong := []any{-1, 0}
		switch element.Kind() {
		case reflect.Int, reflect.Int64:
		case reflect.Float64:
			wrong = []any{-1.0, 0.0, math.NaN(), math.Inf(1), math.Inf(-1)}
		default:
			continue
		}
		for _, x := range wrong {
			v := reflect.ValueOf(x).Convert(element)
			c := tinyConfig(t, "lora")
			c.Epochs, c.Warmup = 1, 0
			where := reflect.ValueOf(&c).Elem().FieldByIndex(f.Index)
			switch f.Type.Kind() {
			case reflect.Slice:
				where.Set(reflect.Append(reflect.Zero(f.Type), v))
			case reflect.Map:
				where.Set(reflect.MakeMap(f.Type))
				where.SetMapIndex(reflect.ValueOf("q_proj"), v)
			case reflect.Pointer:
				where.Set(reflect.New(element))
				where.Elem().Set(v)
			default:
				where.Set(v)
			}
			flag := flagName(f)
			err := c.Validate()
			if v.IsZero() && !slices.Contains(notZero, flag) {
				if err != nil {
					t.Errorf("--%s of 0: %v", flag, err)
				}
			} else if err == nil || !strings.HasPrefix(err.Error(), "--"+flag+": ") {
				t.Errorf("--%s of %v: %v", flag, x, err)
			}
		}
	}
}

// TestTooManySteps: what no count of steps can hold is not taken for another.
func TestTooManySteps(t *testing.T) {
	c := tinyConfig(t, "lora")
	c.MaxSteps, c.Epochs = 0, 1e12
	refused(t, "llama-gqa", c, "--epochs: 1e+12 come to 5e+12 steps, want no more than 2147483647")
	c.MaxSteps = 1 << 40
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--max-steps: 1099511627776, want no more than 2147483647") {
		t.Error(err)
	}
	for _, text := range []string{"nan", "inf", "1e300GB", "-1"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%s is a size", text)
		}
	}
}
