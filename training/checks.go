package training

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// notOfTheAdapter are the settings that hold beside an adapter to go on from;
// all else is the adapter's own.
var notOfTheAdapter = []string{"lora-dropout", "loraplus-lr-ratio", "loraplus-lr-embedding", "loraplus-weight-decay", "adapter-drop-random"}

// flagName is a setting's name on the command line and in recipes.
func flagName(f reflect.StructField) string {
	if name := f.Tag.Get("name"); name != "" {
		return name
	}
	var b strings.Builder
	for i, c := range f.Name {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// given calls visit with each setting of a struct that is not at its default.
func given(settings reflect.Value, visit func(flag string, v reflect.Value)) {
	for i := range settings.NumField() {
		f, v := settings.Type().Field(i), settings.Field(i)
		if f.Anonymous {
			given(v, visit)
			continue
		}
		if v.IsZero() || fmt.Sprint(v) == f.Tag.Get("default") {
			continue
		}
		if rate, err := strconv.ParseFloat(f.Tag.Get("default"), 64); err == nil && f.Type.Kind() == reflect.Float64 && rate == v.Float() {
			continue // 1e-6 is 1e-06
		}
		visit(flagName(f), v)
	}
}

// Idle lists the flags of the settings that were given and that a method does not read.
func Idle(method string, settings any) (flags []string) {
	reads := Reads(method)
	given(reflect.ValueOf(settings), func(flag string, _ reflect.Value) {
		if !slices.Contains(reads, flag) {
			flags = append(flags, "--"+flag)
		}
	})
	return flags
}

// idle lists the settings that were given and that the method does not read or that,
// of an adapter to go on from, are its own.
func (c *Config) idle() (flags []string) {
	reads := Reads(c.Method)
	given(reflect.ValueOf(c.MethodConfig), func(flag string, _ reflect.Value) {
		if !slices.Contains(reads, flag) || c.InitAdapter != "" && !slices.Contains(notOfTheAdapter, flag) {
			flags = append(flags, "--"+flag)
		}
	})
	return flags
}

// noteColumns says which names of columns were given that rows of those that are read do
// not have.
func noteColumns(columns dataset.Columns, reads []string, note func(format string, a ...any)) {
	var flags []string
	given(reflect.ValueOf(columns), func(flag string, v reflect.Value) {
		if v.Kind() == reflect.String && !slices.Contains(reads, v.String()) && !slices.Contains(columns.Ignore, v.String()) {
			flags = append(flags, "--"+flag)
		}
	})
	if len(flags) > 0 {
		note("without effect: %s (no such column is read: read are %s)", strings.Join(flags, ", "), strings.Join(reads, ", "))
	}
}

// noteIdle says which settings change nothing: a recipe may hold those of
// other methods.
func (r *Run) noteIdle() {
	if n, all := r.projected(r.Base.Model); r.Method == "galore" && n < all {
		r.observer.Note("galore: %d of the blocks' %d matrices have no more than --galore-rank %d rows or columns: they train as with full", all-n, all, r.GaloreRank)
	}
	noteColumns(r.Columns, r.train.Reads(), r.observer.Note)
	flags := r.idle()
	if len(flags) == 0 {
		return
	}
	with := "--method " + r.Method
	if r.InitAdapter != "" {
		with = "--init-adapter, whose own settings hold"
	}
	r.observer.Note("without effect: %s (with %s)", strings.Join(flags, ", "), with)
}

// fits reports what is wrong with the settings of a method that trains the base
// itself.
func (c *Config) fits(m models.Model) error {
	layers := m.Config().Layers
	projected, _ := c.projected(m)
	switch {
	case c.Method == "lisa" && c.Gamma > layers:
		return fmt.Errorf("--lisa-layers: %d, the base has %d blocks", c.Gamma, layers)
	case c.Method == "galore" && projected == 0:
		return fmt.Errorf("--galore-rank: %d is not below the sides of any of the blocks' matrices: no gradient would be projected", c.GaloreRank)
	}
	return nil
}

// projected counts the blocks' matrices, and those that GaLore projects.
func (c *Config) projected(m models.Model) (n, all int) {
	for _, s := range m.Sites() {
		if s.Kind != models.LinearSite || s.Head {
			continue
		}
		if all++; min(s.Linear.W.Rows, s.Linear.W.Cols) > c.GaloreRank {
			n++
		}
	}
	return n, all
}
