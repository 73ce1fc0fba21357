package keys

import (
	"regexp"
	"strings"
	"testing"
)

// Whatever a file holds, its keys are read or refused by its name.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"- {name: a, key: " + secret + ", rights: [use, publish], use: ['a*'], limits: {resident: 1GiB, running: 3}}", "---\n---\nname: a", "? [a]\n: b", "- &a *a", "- !!binary x", "{name: [], limits: {running: {}}}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read := parse("keys.yaml", []byte(text))
		for _, fault := range read.faults {
			if !strings.HasPrefix(fault.Error(), "keys.yaml") {
				t.Fatalf("%q is refused without its file: %s", text, fault)
			}
		}
		if len(read.faults) > 0 {
			return
		}
		set, err := NewSet(read.keys)
		if err != nil {
			return
		}
		for _, k := range set.keys {
			if k.Name == "" || k.Tenant == "" || set.Tenant(k) == nil || len(k.Rights) == 0 || k.Uses("a") && !k.Sees("a") {
				t.Fatalf("%q makes the key %+v", text, k)
			}
		}
	})
}

// Patterns match as regular expressions with .* and . in the place of * and ? do.
func FuzzGlob(f *testing.F) {
	f.Add("team-*.?x*", "team-a.bx/1")
	f.Add("**a", "aa")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, err := parseGlob(pattern)
		if err != nil || len(pattern)*len(name) > 1<<12 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:+/") != "" {
			return
		}
		want := regexp.MustCompile("^" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern)) + "$").MatchString(name)
		if got := g.matches(name); got != want {
			t.Fatalf("%q matches %q: %t", pattern, name, got)
		}
	})
}
