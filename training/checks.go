package training

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/peft-serve/peft-serve/models"
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

// idle lists the settings that were given and that the method does not read.
func (c *Config) idle() []string {
	reads, flags := Reads(c.Method), []string(nil)
	var look func(v reflect.Value)
	look = func(v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Anonymous {
				look(v.Field(i))
				continue
			}
			name := flagName(f)
			if v.Field(i).IsZero() || fmt.Sprint(v.Field(i)) == f.Tag.Get("default") {
				continue
			}
			if rate, err := strconv.ParseFloat(f.Tag.Get("default"), 64); err == nil && f.Type.Kind() == reflect.Float64 && rate == v.Field(i).Float() {
				continue // 1e-6 is 1e-06
			}
			if !slices.Contains(reads, name) || c.InitAdapter != "" && !slices.Contains(notOfTheAdapter, name) {
				flags = append(flags, "--"+name)
			}
		}
	}
	look(reflect.ValueOf(c.MethodConfig))
	return flags
}

// noteIdle says which settings change nothing: a recipe may hold those of
// other methods.
func (r *Run) noteIdle() {
	if n, all := r.projected(r.Base.Model); r.Method == "galore" && n < all {
		r.observer.Note("galore: %d of the blocks' %d matrices have no more than --galore-rank %d rows or columns: they train as with full", all-n, all, r.GaloreRank)
	}
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
