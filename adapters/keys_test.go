package adapters

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/modeltest"
)

var updateKeys = flag.Bool("update-keys", false, "write testdata/keys.txt anew")

// decision says what becomes of a key of a configuration of that peft_type.
func decision(peftType, name string) string {
	k, ok := methods[peftType].keys[name]
	if !ok {
		k, ok = ofAll[name]
	}
	switch {
	case !ok:
		return "unknown"
	case k.use == isRead:
		return "read"
	case k.use == isInert:
		return "inert, of kind " + string(k.kind) + ": " + k.why
	}
	return "refused: " + k.why
}

// trainers are keys that peft-train writes where PEFT has none: the tensors
// tell whether who wrote the file has honoured them.
var trainers = map[string][]string{
	"IA3": {"layers_to_transform", "layers_pattern"}, "BEFT": {"exclude_modules", "layers_to_transform", "layers_pattern"},
	"VERA": {"exclude_modules"},
}

// TestKeysOfPEFT demands that each key of PEFT's own dataclasses is read, inert
// or refused, and that no other key is known but the trainer's; testdata/keys.txt shows what
// becomes of it.
func TestKeysOfPEFT(t *testing.T) {
	list, err := os.ReadFile(modeltest.Goldens(t, "peft_keys.txt"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string][]string{}
	var got bytes.Buffer
	for line := range strings.Lines(string(list)) {
		peftType, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		theirs[peftType] = append(theirs[peftType], key)
		if methods[peftType] == nil {
			continue
		}
		what := decision(peftType, key)
		fmt.Fprintf(&got, "%s %s → %s\n", peftType, key, what)
		if what == "unknown" {
			t.Errorf("nothing is decided of %s in a %s", key, peftType)
		}
	}
	for _, peftType := range Types() {
		if theirs[peftType] == nil && !methods[peftType].ours {
			t.Errorf("PEFT has no %s", peftType)
		}
		for _, key := range slices.Sorted(maps.Keys(methods[peftType].keys)) {
			if theirs[peftType] != nil && !slices.Contains(theirs[peftType], key) && !slices.Contains(trainers[peftType], key) {
				t.Errorf("PEFT has no %s in a %s", key, peftType)
			}
		}
	}
	const path = "testdata/keys.txt"
	if *updateKeys {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got\n%s", got.Bytes())
	}
}

// TestKeysAreRead gives each key a value that no key can have: what is read or
// inert refuses it by name as what is refused does.
func TestKeysAreRead(t *testing.T) {
	complete := map[string]string{
		"PROMPT_TUNING": `"num_virtual_tokens":4,`, "P_TUNING": `"num_virtual_tokens":4,`, "PREFIX_TUNING": `"num_virtual_tokens":4,`,
		"TRAINABLE_TOKENS": `"token_indices":[1],`, "BOTTLENECK": `"reduction_factor":2,`,
	}
	for _, peftType := range Types() {
		for key := range methods[peftType].keys {
			rest := complete[peftType]
			if strings.HasPrefix(rest, `"`+key+`"`) {
				rest = ""
			}
			config := `{"peft_type":"` + peftType + `",` + rest + `"` + key + `":[{"no":"sense"}]}`
			if _, err := ParseConfig([]byte(config)); err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s: got %v", config, err)
			}
		}
	}
}
