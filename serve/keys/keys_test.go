package keys

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// write puts text into a file that only its owner reads.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func setOf(t *testing.T, text string) *Set {
	t.Helper()
	read, err := Read(write(t, text))
	require.NoError(t, err)
	require.Empty(t, read.Warnings)
	set, err := NewSet(read.Keys)
	require.NoError(t, err)
	return set
}

const secret = "a-secret-of-twenty-characters"

// Every field of a key is read.
func TestFields(t *testing.T) {
	set := setOf(t, `
- name: ci
  key: `+secret+`
  tenant: team-a
  rights: [use, publish, metrics]
  use: ["shared-*", team-a.*]
  publish: team-a.nightly-*
  prefix: team-a.
  weight: 3
  limits: {running: 4, waiting: 5, resident: 512MiB, uploads: 2, prompt: 1000, completion: 100}
- name: root
  hash: `+Hash("another-secret-of-that-length")+`
  rights: admin
`)
	k := set.Find(secret)
	require.Equal(t, "ci", k.Name)
	require.Equal(t, Limits{Running: 4, Waiting: 5, Resident: 512 << 20, Uploads: 2, Prompt: 1000, Completion: 100}, k.Limits)
	require.Equal(t, &Tenant{Name: "team-a", Weight: 3, Limits: Limits{Running: 4, Waiting: 5, Resident: 512 << 20, Uploads: 2}}, set.Tenant(k))
	for right, has := range map[Right]bool{Use: true, Publish: true, Metrics: true, Admin: false} {
		require.Equal(t, has, k.May(right), right)
	}
	for name, may := range map[string][3]bool{ // sees, uses, publishes
		"shared-x": {true, true, false}, "team-a.x": {true, true, false}, "team-a.nightly-1": {true, true, true},
		"team-b.x": {false, false, false}, "nightly-1": {false, false, false},
	} {
		require.Equal(t, may, [3]bool{k.Sees(name), k.Uses(name), k.Publishes(name)}, name)
	}
	require.Equal(t, `begin with "team-a." and match team-a.nightly-*`, k.Publishable())
	require.Equal(t, "team-a", set.Owner("team-a.x").Name)
	require.Nil(t, set.Owner("team-b.x"))
	for name, want := range map[string]string{"team-a.x": "team-a 536870912", "team-b.x": " 0"} {
		owner, bytes := set.Quota(name)
		require.Equal(t, want, fmt.Sprint(owner, " ", bytes))
	}
	owner, bytes := (*Set)(nil).Quota("team-a.x")
	require.Equal(t, " 0", fmt.Sprint(owner, " ", bytes), "without keys")

	root := set.Find("another-secret-of-that-length")
	require.Equal(t, "root", root.Name)
	require.Equal(t, "root", root.Tenant, "by default the key is its own tenant")
	require.True(t, root.May(Use) && root.May(Publish) && root.May(Metrics) && root.Sees("team-a.x") && root.Publishes("team-a.x"))
	require.Nil(t, set.Find("another"))
	require.Nil(t, set.Find(""))
	require.Nil(t, set.Find(Hash(secret)), "a hash is no secret")
}

// Without use a key has what is not below another tenant's prefix; without
// rights it may use; without globs it publishes what is below its prefix.
func TestDefaults(t *testing.T) {
	set := setOf(t, `
- {name: a, key: `+secret+`, tenant: team-a, rights: [use, publish], prefix: a.}
- {name: a-deep, key: `+secret+`1, tenant: deep, rights: publish, prefix: a.deep.}
- {name: other, key: `+secret+`2}
- {name: loose, key: `+secret+`3, rights: [use, publish]}
- {name: reader, key: `+secret+`4, tenant: team-a}
`)
	for _, c := range []struct {
		secret, name    string
		uses, publishes bool
	}{
		{secret, "a.x", true, true}, {secret, "x", true, false}, {secret, "a.deep.x", false, true},
		{secret + "1", "a.deep.x", true, true}, {secret + "1", "a.x", false, false},
		{secret + "2", "x", true, false}, {secret + "2", "a.x", false, false},
		{secret + "3", "x", true, true}, {secret + "3", "a.x", false, false},
		{secret + "4", "a.x", true, false},
	} {
		k := set.Find(c.secret)
		require.Equal(t, [2]bool{c.uses, c.publishes}, [2]bool{k.Uses(c.name), k.Publishes(c.name)}, k.Name+" "+c.name)
		require.Equal(t, c.uses || c.publishes, k.Sees(c.name))
	}
	require.False(t, set.Find(secret+"2").May(Publish))
	require.Equal(t, "deep", set.Owner("a.deep.x").Name, "the longest prefix decides")
	require.Equal(t, 1, set.Tenant(set.Find(secret)).Weight)
}

// The example has every field, and is what a server takes.
func TestExample(t *testing.T) {
	const path = "../../examples/keys.yaml"
	read, err := Read(path)
	require.NoError(t, err)
	require.Empty(t, read.Warnings)
	set, err := NewSet(read.Keys)
	require.NoError(t, err)
	require.Equal(t, &Tenant{Name: "team-a", Weight: 3, Limits: Limits{Running: 8, Waiting: 64, Resident: 512 << 20, Uploads: 2}}, set.tenants["team-a"])
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, field := range []string{"name", "key", "hash", "tenant", "rights", "use", "publish", "prefix", "weight", "running", "waiting", "resident", "uploads", "prompt", "completion"} {
		require.Regexp(t, "(?m)\\b"+field+"[:`]", string(text))
	}
}

// What cannot be used is refused by file and line.
func TestFaults(t *testing.T) {
	ok := "key: " + secret
	for text, want := range map[string]string{
		"- name: a\n  " + ok + "\n  rigths: [use]":                       ":3: there is no rigths: did you mean rights?",
		"- name: a\n  " + ok + "\n  colour: red":                         ":3: there is no colour: there are hash, key, limits, name,",
		"name: a\n" + ok + "\nlimits:\n  promt: 3":                       ":4: there is no limits.promt: did you mean prompt?",
		"name: a\n" + ok + "\nlimits: 3":                                 ":3: limits has to be a mapping",
		"name: a\n" + ok + "\nlimits: {running: 0}":                      ":3: limits.running has to be a whole number above 0",
		"name: a\n" + ok + "\nlimits: {waiting: -1}":                     "limits.waiting has to be",
		"name: a\n" + ok + "\nlimits: {prompt: many}":                    "limits.prompt has to be",
		"name: a\n" + ok + "\nlimits: {completion: 1.5}":                 "limits.completion has to be",
		"name: a\n" + ok + "\nrights: publish\nlimits: {uploads: []}":    "limits.uploads has to be",
		"name: a\n" + ok + "\nlimits: {resident: 1Q}":                    ":3: limits.resident has to be a size above 0",
		"name: a\n" + ok + "\nweight: 0":                                 "weight has to be a whole number above 0",
		"name: a\n" + ok + "\nrights: [fly]":                             `:3: rights: there is no right "fly": there are use, publish, metrics, admin`,
		"name: a\n" + ok + "\nrights: [use, use]":                        "rights: use is there twice",
		"name: a\n" + ok + "\nrights: []":                                "rights is empty",
		"name: a\n" + ok + "\nuse: [\"a[bc]\"]":                          `use "a[bc]" has '['`,
		"name: a\n" + ok + "\nuse: [null]":                               "use has to be a text",
		"name: a\n" + ok + "\npublish: [x]":                              `key "a": publish is given, but its rights have no publish`,
		"name: a\n" + ok + "\nprefix: x.":                                "prefix is given, but its rights have no publish",
		"name: a\n" + ok + "\nrights: metrics\nlimits: {running: 1}":     "limits.running is given, but its rights have no use",
		"name: a\n" + ok + "\nrights: [admin]\nuse: [x]":                 "use is given, and with the right admin it may everything",
		"name: a\n" + ok + "\nrights: [publish]\nprefix: x/":             `prefix is "x/": use 1 to 128`,
		"name: a b\n" + ok:                                               `name is "a b"`,
		"name: a\ntenant: .b\n" + ok:                                     `tenant is ".b"`,
		ok:                                                               "the key has no name",
		"name: a":                                                        `key "a" has neither key nor hash`,
		"name: a\n" + ok + "\nhash: " + Hash(secret):                     "has both key and hash",
		"name: a\nkey: short":                                            `key "a" has fewer than 8 characters`,
		"name: a\nhash: sha256:abc":                                      "hash has to be sha256: and 64 hexadecimal digits",
		"name: a\nhash: " + strings.Repeat("0", 64):                      "hash has to be sha256:",
		"name: a\nname: b\n" + ok:                                        ":2: name is there for the second time: the first is in line 1",
		"- &k {name: a, " + ok + "}\n- *k":                               ":2: a key has to be a mapping",
		"- just a text":                                                  ":1: a key has to be a mapping",
		"text":                                                           "this is no key",
		"- name: a\n\tb":                                                 "keys.yaml: yaml: ",
		"":                                                               "holds no key",
		"# nothing":                                                      "holds no key",
		"[]":                                                             "holds no key",
		"name: a\n" + ok + "\n---\nname: b\nkey: x":                      `:4: key "b" has fewer`,
		"- {name: a, key: short}\n- {name: b, hash: x}":                  ":2: hash has to be",
		"name: a\n" + ok + "\nuse: &u [x]\nrights: publish\npublish: *u": ":5: publish is an alias",
		"name: a\n" + ok + "\nrights: [publish]\nuse: x\nlimits: {prompt: 10}": "limits.prompt is given, but its rights have no use",
	} {
		_, err := Read(write(t, text))
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), secret, text)
	}
	_, err := Read(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Keys that do not go together are refused by name.
func TestFaultsOfSets(t *testing.T) {
	for text, want := range map[string]string{
		"- {name: a, key: " + secret + "}\n- {name: a, key: " + secret + "1}":                                                                                      `:2: key "a" is there already (`,
		"- {name: a, key: " + secret + "}\n- {name: b, hash: '" + Hash(secret) + "'}":                                                                              `keys "b" and "a" (`,
		"- {name: a, tenant: t, key: " + secret + ", weight: 1}\n- {name: b, tenant: t, key: " + secret + "1, weight: 2}":                                          `key "b": weight is 2, and another key of tenant "t" says 1`,
		"- {name: a, tenant: t, key: " + secret + ", limits: {running: 1}}\n- {name: b, tenant: t, key: " + secret + "1, limits: {running: 2}}":                    "limits.running is 2",
		"- {name: a, rights: publish, key: " + secret + ", limits: {resident: 1MiB}}":                                                                              `tenant "a": limits.resident counts the adapters below its prefix`,
		"- {name: a, rights: publish, prefix: p., key: " + secret + "}\n- {name: b, rights: publish, prefix: p., key: " + secret + "1}":                            `key "b": prefix "p." is tenant "a"'s already`,
		"- {name: a, tenant: t, rights: publish, prefix: p., key: " + secret + "}\n- {name: b, tenant: t, rights: publish, prefix: p., key: " + secret + "1}\n- x": "a key has to be a mapping",
	} {
		read, err := Read(write(t, text))
		if err == nil {
			_, err = NewSet(read.Keys)
		}
		require.ErrorContains(t, err, want, text)
	}
	_, err := NewSet(nil)
	require.ErrorContains(t, err, "there is no key")
}

// A folder as Kubernetes mounts it: links into a hidden folder that is swapped.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	version := func(name string, files map[string]string) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		for file, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name, file), []byte(text), 0o600))
		}
		require.NoError(t, os.Symlink(name, filepath.Join(dir, "..new")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
	}
	version("..2026_01", map[string]string{"a": "{name: a, key: " + secret + "}", "b": "[{name: b, key: " + secret + "1}, {name: c, key: " + secret + "2}]"})
	for _, file := range []string{"a", "b"} {
		require.NoError(t, os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".hidden"), []byte("not: a key"), 0o600))
	first, err := Read(dir)
	require.NoError(t, err)
	require.Empty(t, first.Warnings)
	before, err := NewSet(first.Keys)
	require.NoError(t, err)
	require.Len(t, before.keys, 3)
	again, err := Read(dir)
	require.NoError(t, err)
	require.Equal(t, first.Sum, again.Sum)

	version("..2026_02", map[string]string{"a": "{name: a, key: " + secret + ", limits: {prompt: 7}}", "b": "{name: d, key: " + secret + "1}"})
	second, err := Read(dir)
	require.NoError(t, err)
	require.NotEqual(t, first.Sum, second.Sum)
	after, err := NewSet(second.Keys)
	require.NoError(t, err)
	require.Equal(t, "added d; removed b, c; changed a", before.Changes(after))
	require.Empty(t, after.Changes(after))

	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	_, err = Read(dir)
	require.ErrorContains(t, err, "folder is no file")
}

func TestWarnings(t *testing.T) {
	path := write(t, "{name: a, key: only-15-letters}")
	require.NoError(t, os.Chmod(path, 0o644))
	read, err := Read(path)
	require.NoError(t, err)
	require.Len(t, read.Warnings, 2)
	require.Contains(t, read.Warnings[0], `:1: key "a" has 15 characters, which can be guessed: take 20 or more`)
	require.Contains(t, read.Warnings[1], "holds keys in clear and everybody on this machine may read it: chmod o-r")
	path = write(t, "{name: a, hash: '"+Hash(secret)+"'}")
	require.NoError(t, os.Chmod(path, 0o644))
	read, err = Read(path)
	require.NoError(t, err)
	require.Empty(t, read.Warnings, "hashes are no secret")

	_, warning, err := Plain("key-1", "only-15-letters")
	require.NoError(t, err)
	require.Contains(t, warning, "can be guessed")
	_, _, err = Plain("key-1", "short")
	require.ErrorContains(t, err, "has fewer than 8 characters")
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"*", "", true}, {"*", "a/b@c", true}, {"a", "a", true}, {"a", "b", false}, {"a", "ab", false}, {"a*", "a", true}, {"a*", "ba", false},
		{"a*c", "abbc", true}, {"a*c", "abcd", false}, {"*b*", "abc", true}, {"a?c", "abc", true}, {"a?c", "ac", false}, {"a.b", "axb", false},
		{"*.*", "a.b", true}, {"a**b", "ab", true}, {"*ab", "aab", true}, {"a*b*c", "a-b-b-c", true}, {"a*b*c", "a-c-b", false}, {"?", "", false},
		{strings.Repeat("a*", 60) + "b", strings.Repeat("a", 256), false},
	} {
		g, err := parseGlob(c.glob)
		require.NoError(t, err)
		require.Equal(t, c.want, g.matches(c.name), "%s of %s", c.glob, c.name)
	}
}

// A change is handed over once, a fault too, and nothing while all stays.
func TestWatch(t *testing.T) {
	path := write(t, "{name: a, key: "+secret+"}")
	synctest.Test(t, func(t *testing.T) {
		first, err := Read(path)
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		var seen []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			Watch(ctx, path, time.Second, first, func(f Files, err error) {
				if err != nil {
					seen = append(seen, "fault")
					return
				}
				seen = append(seen, f.Keys[0].Name)
			})
		}()
		for _, text := range []string{"", "{name: b, key: " + secret + "}", "name", "{name: c, key: " + secret + "}"} {
			time.Sleep(5 * time.Second)
			if text != "" {
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			}
		}
		time.Sleep(5 * time.Second)
		require.NoError(t, os.Remove(path))
		time.Sleep(5 * time.Second)
		stop()
		<-done
		require.Equal(t, []string{"b", "fault", "c", "fault"}, seen)
	})
}
