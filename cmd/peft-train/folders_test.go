package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/training/plan"
)

// command runs the whole command.
func command(t *testing.T, args ...string) (code int, out, notes string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, console{out: &o, err: &e})
	return code, o.String(), e.String()
}

func succeeds(t *testing.T, want string, args ...string) string {
	t.Helper()
	code, out, notes := command(t, args...)
	if code != 0 || !strings.Contains(out, want) {
		t.Errorf("%v: code %d\n%s%s\nwant %q", args, code, out, notes, want)
	}
	return out
}

func TestVersion(t *testing.T) {
	succeeds(t, "peft-train dev", "--version")
}

func TestPlan(t *testing.T) {
	succeeds(t, "56,098,816 trained, 0.8256 %", "plan", "--base", "llama-7b", "--r", "32", "--target-modules", "q_proj,k_proj,v_proj,up_proj,down_proj")
	succeeds(t, "14.0 GB model + 14.0 GB gradients + 28.0 GB Adam + 2.00 GB activations = 58.0 GB", "plan", "--base", "llama-7b", "--method", "full", "--batch-size", "1", "--max-length", "2048")
	succeeds(t, "4,194,304 trained", "plan", "--base", "llama-7b", "--method", "loraplus", "--target-modules", `.*\.(q|v)_proj`)
	succeeds(t, "\nlecture: ", "plan", "--base", "deberta-v2-xxlarge", "--compare")
	succeeds(t, "  total ", "plan", "--base", "deberta-v2-xxlarge", "--method", "lisa")
	encoder := modeltest.Goldens(t, "encoders", "bert")
	succeeds(t, "(no total: ", "plan", "--base", encoder, "--adapter", filepath.Join(encoder, "adapters", "lora"))
	out := succeeds(t, "bitfit: method cannot be planned", "plan", "--base", modeltest.Goldens(t, "llama-gqa"), "--compare")
	for _, method := range []string{"full", "dora", "houlsby", "prefix", "lisa", "block-wise", "galore"} {
		if !strings.Contains(out, "\n  "+method) && !strings.Contains(out, "\n"+method) && !strings.Contains(out, " "+method+" ") {
			t.Errorf("no row of %s in\n%s", method, out)
		}
	}
	var all struct {
		Parameters int
		Methods    []struct {
			Method    string
			Trainable int
			Memory    map[string]int
			Total     int `json:"total_bytes"`
			FLOPs     map[string]float64
		}
	}
	if err := json.Unmarshal([]byte(succeeds(t, "", "plan", "--base", "smollm2-135m", "--compare", "--json", "--dtype", "q8_0")), &all); err != nil {
		t.Fatal(err)
	}
	if all.Parameters != 134_515_008 || len(all.Methods) != len(plan.Methods()) {
		t.Errorf("%d parameters, %d methods", all.Parameters, len(all.Methods))
	}
	for _, m := range all.Methods {
		sum := 0
		for _, n := range m.Memory {
			sum += n
		}
		if sum != m.Total {
			t.Errorf("%s: the categories sum to %d of %d", m.Method, sum, m.Total)
		}
	}
	for _, args := range [][]string{
		{"plan", "--base", "no-such-model"}, {"plan", "--base", "llama-7b", "--method", "magic"}, {"plan", "--base", "llama-7b", "--target-modules", "x_proj"},
		{"plan", "--base", "llama-7b", "--dtype", "q3"}, {"plan"}, {"plan", "--base", "roberta-base", "--labels", "4"}, {"plan", "--base", "roberta-base", "--labels", "4", "--compare"},
	} {
		if code, _, notes := command(t, args...); code == 0 || notes == "" {
			t.Errorf("%v: code %d, %q", args, code, notes)
		}
	}
}

// TestFolders takes one adapter through every command that has to do with
// folders.
func TestFolders(t *testing.T) {
	base, dir := modeltest.Goldens(t, "llama-gqa"), t.TempDir()
	adapter := filepath.Join(base, "adapters", "lora-all-linear")
	in := func(name string) string { return filepath.Join(dir, name) }

	succeeds(t, "lora, rank 2", "inspect", adapter)
	succeeds(t, "correlation of ΔM and ΔD", "inspect", adapter, "--against", base)
	var described map[string]any
	if err := json.Unmarshal([]byte(succeeds(t, "", "inspect", adapter, "--against", base, "--json")), &described); err != nil || described["against"] == nil {
		t.Errorf("%v, %v", described, err)
	}
	succeeds(t, "21 of 29 tensors changed", "merge", "--base", base, "--adapter", adapter, "--output", in("merged"))
	succeeds(t, "ΔM", "inspect", in("merged"), "--against", base)
	succeeds(t, "a logit is off by", "extract", "--base", base, "--tuned", in("merged"), "--output", in("extracted"), "--r", "4")
	succeeds(t, "(gguf): lora, 42 tensors", "convert", in("extracted"), in("a.gguf"), "--base", base)
	succeeds(t, "(peft): lora, 42 tensors", "convert", in("a.gguf"), in("back"), "--base", base)
	succeeds(t, "1,344 trained", "plan", "--base", base, "--adapter", filepath.Join(base, "adapters", "lora-f16"))

	other := filepath.Join(base, "adapters", "lora-other")
	several := []string{"merge", "--adapter", adapter, "--adapter", other, "--weights", "0.7,-0.3"}
	succeeds(t, "linear of 2 adapters, rank 2, 42 tensors", append(several, "--combine", "linear", "--output", in("combined"))...)
	succeeds(t, "lora, rank 2", "inspect", in("combined"))
	succeeds(t, "21 of 29 tensors changed", append(several, "--combine", "ties", "--density", "0.5", "--base", base, "--output", in("folded"))...)

	outputs := map[string]string{"peft-train convert": in("x.gguf")}
	for want, args := range map[string][]string{
		"want a --combine":   {"merge", "--adapter", adapter, "--adapter", other},
		"--density above 0":  append(several, "--combine", "ties"),
		"reads no --seed":    append(several, "--combine", "cat", "--seed", "3"),
		"peft-train convert": append(slices.Clip(several), "--combine", "cat"),
		"--dtype":            append(several, "--combine", "cat", "--dtype", "f16"),
		"--combine is":       append(several, "--combine", "slerp"),
		"--weights wants":    {"merge", "--adapter", adapter, "--weights", "1"},
		"want a --base":      {"merge", "--adapter", adapter},
		"two --adapter":      {"merge", "--adapter", adapter, "--combine", "cat", "--weights", "1"},
		"--weights has 1":    {"merge", "--adapter", adapter, "--adapter", other, "--combine", "cat", "--weights", "1"},
		"\"x\" is not":       {"merge", "--adapter", adapter, "--adapter", other, "--combine", "cat", "--weights", "1,x"},
		"--majority-sign is": append(several, "--combine", "ties", "--density", "1", "--majority-sign", "loud"),
	} {
		if code, _, notes := command(t, append(slices.Clip(args), "--output", cmp.Or(outputs[want], in("x")))...); code != 2 || !strings.Contains(notes, want) {
			t.Errorf("%v: code %d, %q, want %q", args, code, notes, want)
		}
	}
	for want, args := range map[string][]string{
		"exists":             {"merge", "--base", base, "--adapter", adapter, "--output", in("merged")},
		"--untie":            {"merge", "--base", base, "--adapter", filepath.Join(base, "adapters", "lora-embed"), "--output", in("x")},
		"cannot be merged":   {"merge", "--base", base, "--adapter", filepath.Join(base, "adapters", "prefix"), "--output", in("x")},
		"no matrix differs":  {"extract", "--base", base, "--tuned", base, "--output", in("x")},
		"the base is needed": {"convert", in("extracted"), in("x.gguf")},
		"adapter_config":     {"inspect", t.TempDir()},
	} {
		if code, _, notes := command(t, args...); code != 1 || !strings.Contains(notes, want) {
			t.Errorf("%v: code %d, %q, want %q", args, code, notes, want)
		}
	}
	if _, err := os.Stat(in("x")); err == nil {
		t.Error("a refusal left a folder")
	}
}

func TestAlike(t *testing.T) {
	got := alike([]string{"layers.0.norm", "layers.0.bias", "norm", "layers.11.norm"})
	if want := "layers.*.norm (2), layers.0.bias, norm"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
