package catalogue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestParseAlias(t *testing.T) {
	for _, c := range []struct {
		text string
		want Alias
	}{
		{"", Alias{}}, {"# nothing\n", Alias{}}, {"{}", Alias{}}, {"null", Alias{}},
		{"live: ab12", Alias{Live: "ab12"}}, {"live: 123456", Alias{Live: "123456"}}, {"live: 1e5", Alias{Live: "1e5"}},
		{"canary: {digest: cd, percent: 5}", Alias{Canary: "cd", Percent: 5}},
		{"live: ab\ncanary:\n  percent: 0.5\n  digest: \"007\"\n", Alias{"ab", "007", 0.5}},
		{"live: ab\ncanary: {digest: cd, percent: 100}", Alias{"ab", "cd", 100}},
		{"live: ab\ncanary: {digest: cd, percent: 0}", Alias{Live: "ab"}},
	} {
		got, err := ParseAlias([]byte(c.text))
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
		if again, err := ParseAlias(c.want.Text()); err != nil || again != c.want {
			t.Errorf("%q: %+v, %v", c.want.Text(), again, err)
		}
	}
	for text, why := range map[string]string{
		"lve: ab":                            "line 1: there is no field lve: did you mean live?",
		"live: ab\nlive: cd":                 "live is there twice",
		"live: ../x":                         "line 1: live is no digest",
		"live:":                              "live is no digest",
		"live: [ab]":                         "live is no digest",
		"ab":                                 "line 1: the file has to be fields: canary, live",
		"canary: ab":                         "canary has to be fields: digest, percent",
		"canary: {digest: ab}":               "canary needs digest and percent",
		"canary: {percent: 5}":               "canary needs digest and percent",
		"canary: {digest: ab, percent: 101}": "canary.percent is no number from 0 to 100",
		"canary: {digest: ab, percent: nan}": "canary.percent is no number",
		"canary: {digest: ab, percent: 5%}":  "canary.percent is no number",
		"canary: {digest: ab, precent: 5}":   "there is no field canary.precent: did you mean canary.percent?",
		"live: ab\ncanary: {digest: ab, percent: 5}": "canary.digest is the live version's",
		"live: ab\n---\nlive: cd":                    "more than one document",
		"live: \"":                                   "yaml: ",
		"live: a b\ncanary: 5":                       "line 2: canary has to be fields",
	} {
		if _, err := ParseAlias([]byte(text)); !errors.Is(err, ErrAlias) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

func FuzzParseAlias(f *testing.F) {
	f.Add([]byte("live: ab\ncanary: {digest: cd, percent: 5}"))
	f.Add([]byte("a: &x {b: *x}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := ParseAlias(text)
		if err != nil {
			return
		}
		if again, err := ParseAlias(a.Text()); err != nil || again != a {
			t.Errorf("%+v is written as %q, which is %+v, %v", a, a.Text(), again, err)
		}
		for _, digest := range []string{a.Live, a.Canary} {
			if digest != "" && !filepath.IsLocal(digest) {
				t.Errorf("%q leads out", digest)
			}
		}
	})
}

// A canary answers its share of the sessions, the same ones always, and more of
// them as its share grows; another canary draws others.
func TestCanaryShare(t *testing.T) {
	const sessions = 20_000
	of := func(canary string, percent float64) (chosen map[string]bool) {
		a := Alias{Live: "live", Canary: canary, Percent: percent}
		chosen = map[string]bool{}
		for i := range sessions {
			session := fmt.Sprint("session-", i)
			if digest, is := a.choose(session); is {
				if digest != canary {
					t.Fatal(digest)
				}
				chosen[session] = true
			} else if digest != "live" {
				t.Fatal(digest)
			}
		}
		return chosen
	}
	five, ten, other := of("one", 5), of("one", 10), of("two", 5)
	both := 0
	for session := range five {
		if !ten[session] {
			t.Errorf("%s had the canary at 5 %% and not at 10 %%", session)
		}
		if other[session] {
			both++
		}
	}
	// Five standard deviations.
	if n := len(five); n < 846 || n > 1154 {
		t.Errorf("%d of %d at 5 %%", n, sessions)
	}
	if n := len(ten); n < 1788 || n > 2212 {
		t.Errorf("%d of %d at 10 %%", n, sessions)
	}
	if both < 15 || both > 85 {
		t.Errorf("%d of both canaries", both)
	}
	if len(of("one", 100)) != sessions {
		t.Error("not all at 100 %")
	}
	if digest, is := (Alias{Live: "live", Canary: "one", Percent: 100}).choose(""); is || digest != "live" {
		t.Error("what has no session gets the canary")
	}
	// Every replica chooses alike, whatever its release.
	for session, want := range map[string]bool{"session-1": five["session-1"]} {
		if got := lot("one", session) < .05; got != want {
			t.Errorf("%s: %v", session, got)
		}
	}
}

// lay writes a version of a name, and says what its alias says.
func (s *shelf) lay(t testing.TB, name string, weights ...string) {
	t.Helper()
	for _, w := range weights {
		writeAdapter(t, s.dir, filepath.Join(VersionsFolder, name, w), w)
	}
}

func (s *shelf) says(t testing.TB, name, text string) {
	t.Helper()
	path := AliasFile(filepath.Join(s.dir, AliasesFolder), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// answersWith is the version that a request gets, or its error.
func answersWith(t testing.TB, c *Catalogue, name, session string) string {
	t.Helper()
	l, err := c.Acquire(name, session)
	if err != nil {
		return err.Error()
	}
	defer l.Release()
	if err := l.Wait(context.Background()); err != nil {
		return err.Error()
	}
	return l.Digest()
}

// An operator's file moves a name between its versions.
func TestAliasByFile(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{})
	s.lay(t, "x", "one", "two")
	if got := answersWith(t, c, "x", ""); !strings.Contains(got, "no adapter of that name") {
		t.Error(got)
	}
	for _, step := range []struct{ text, want string }{
		{"live: one", "one"}, {"live: two", "two"}, {"live: one", "one"},
		{"live: [", "one"}, // broken: what it said before holds
		{"live: three", `adapter "x": the version is not there: its alias names version three, which is not on the disk`},
		{"live: two", "two"},
	} {
		s.says(t, "x", step.text)
		if got := answersWith(t, c, "x", "s"); got != step.want {
			t.Errorf("%s: %q, want %q", step.text, got, step.want)
		}
		if strings.Contains(step.text, "[") {
			if e := c.List()[0]; !strings.Contains(e.Warning, "x.yaml: the adapter's alias cannot be followed") || e.Digest != "one" {
				t.Errorf("%+v", e)
			}
		}
	}
	// What lies in the folder of the name counts when the file says nothing.
	writeAdapter(t, s.dir, "x", "plain")
	if got := answersWith(t, c, "x", ""); got != "two" {
		t.Error(got)
	}
	s.says(t, "x", "")
	if got := answersWith(t, c, "x", ""); got != "plain" {
		t.Error(got)
	}
	// It is also where a version may lie that has no folder of its own.
	s.says(t, "x", "live: plain")
	if got := answersWith(t, c, "x", ""); got != "plain" {
		t.Error(got)
	}
	s.says(t, "x", "live: plane")
	if got := answersWith(t, c, "x", ""); got != `adapter "x": the version is not there: the folder holds version plain, not plane` {
		t.Error(got)
	}
	if err := os.Remove(AliasFile(filepath.Join(s.dir, AliasesFolder), "x")); err != nil {
		t.Fatal(err)
	}
	if got := answersWith(t, c, "x", ""); got != "plain" {
		t.Error(got)
	}
	if e := c.List(); len(e) != 1 || e[0].Digest != "plain" || e[0].State != Resident {
		t.Errorf("%+v", e)
	}
	// A folder of another digest than it is called by is no version.
	s.says(t, "x", "live: four")
	writeAdapter(t, s.dir, filepath.Join(VersionsFolder, "x", "four"), "five")
	if got := answersWith(t, c, "x", ""); got != `adapter "x": the version is not there: the folder holds version five, not four` {
		t.Error(got)
	}
}

// A file that was never whole gives nobody the adapter, and one that a DELETE has
// left behind is no adapter.
func TestAliasFailsClosed(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{})
	writeAdapter(t, s.dir, "x", "plain")
	s.says(t, "x", "live: ..")
	if got := answersWith(t, c, "x", ""); !strings.Contains(got, "line 1: live is no digest") {
		t.Error(got)
	}
	s.says(t, "y", "live: one")
	if got := answersWith(t, c, "y", ""); !strings.Contains(got, "no adapter of that name") {
		t.Error(got)
	}
	for _, e := range c.List() {
		if e.Name == "y" {
			t.Errorf("%+v", e)
		}
	}
	if err := os.Mkdir(AliasFile(filepath.Join(s.dir, AliasesFolder), "z"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeAdapter(t, s.dir, "z", "plain")
	if got := answersWith(t, c, "z", ""); !strings.Contains(got, "is not a regular file") {
		t.Error(got)
	}
}

// What lies among the aliases and is none is said to be passed over, once.
func TestAliasesThatAreNotRead(t *testing.T) {
	s := &shelf{}
	var log bytes.Buffer
	c := s.catalogue(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	writeAdapter(t, s.dir, "x", "plain")
	s.says(t, "x", "live: one")
	folder := filepath.Join(s.dir, AliasesFolder)
	if err := os.Rename(AliasFile(folder, "x"), filepath.Join(folder, "x.yml")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Rescan(); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "x.yml"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

// sessionFor is one that a canary answers, or that it does not.
func sessionFor(canary string, percent float64, chosen bool) string {
	for i := 0; ; i++ {
		session := fmt.Sprint("s", i)
		if _, is := (Alias{"", canary, percent}).choose(session); is == chosen {
			return session
		}
	}
}

// The live version and a canary answer side by side, and are in memory both; a
// canary that fails is not made up for by the live one; one that becomes live
// stays in memory.
func TestCanary(t *testing.T) {
	s := &shelf{bytes: 100}
	c := s.catalogue(t, Options{Bytes: 1000})
	s.lay(t, "x", "one", "two")
	s.says(t, "x", "live: one\ncanary: {digest: two, percent: 50}")
	with, without := sessionFor("two", 50, true), sessionFor("two", 50, false)
	for range 3 {
		if a, b := answersWith(t, c, "x", with), answersWith(t, c, "x", without); a != "two" || b != "one" {
			t.Fatal(a, b)
		}
	}
	if e := c.List(); len(e) != 2 || e[0].Digest != "one" || e[0].Percent != 0 || e[1].Digest != "two" || e[1].Percent != 50 || e[1].State != Resident {
		t.Errorf("%+v", e)
	}
	if used, _ := c.Bytes(); used != 200 || c.Capacity() != 10 {
		t.Errorf("%d bytes, capacity %d", used, c.Capacity())
	}
	// A combination takes of each part what its session gets.
	s.lay(t, "y", "other")
	s.says(t, "y", "live: other")
	// Promoted, it stays in memory, and the one before goes.
	s.says(t, "x", "live: two")
	if a, b := answersWith(t, c, "x", with), answersWith(t, c, "x", without); a != "two" || b != "two" || s.loads["two"] != 1 {
		t.Error(a, b, s.loads)
	}
	if used, _ := c.Bytes(); used != 100 {
		t.Errorf("%d bytes", used)
	}
	// They change their parts.
	s.says(t, "x", "live: one\ncanary: {digest: two, percent: 50}")
	if a, b := answersWith(t, c, "x", with), answersWith(t, c, "x", without); a != "two" || b != "one" || s.loads["two"] != 1 {
		t.Error(a, b, s.loads)
	}
	s.says(t, "x", "live: two\ncanary: {digest: one, percent: 100}")
	if a, b := answersWith(t, c, "x", with), answersWith(t, c, "x", ""); a != "one" || b != "two" || s.loads["two"] != 1 || s.loads["one"] != 2 {
		t.Error(a, b, s.loads)
	}
	s.says(t, "x", "live: two\ncanary: {digest: three, percent: 100}")
	if a, b := answersWith(t, c, "x", "s"), answersWith(t, c, "x", ""); !strings.Contains(a, "version three, which is not on the disk") || b != "two" {
		t.Error(a, b)
	}
	s.lay(t, "x", "three")
	if err := os.Remove(filepath.Join(VersionFolder(s.dir, "x", "three"), "weights")); err != nil {
		t.Fatal(err)
	}
	if a, b := answersWith(t, c, "x", "s"), answersWith(t, c, "x", ""); !strings.Contains(a, "weights: no such file") || b != "two" {
		t.Error(a, b)
	}
}

// A pin is the name's: the versions that answer are in memory, without a request.
func TestPinOfVersions(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{})
	s.lay(t, "x", "one", "two", "three")
	s.says(t, "x", "live: one")
	if err := c.Pin(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	resident := func(want string) {
		t.Helper()
		for range 200 {
			var got []string
			for _, e := range c.List() {
				if e.State == Resident {
					got = append(got, fmt.Sprint(e.Digest, e.Pinned))
				}
			}
			if strings.Join(got, " ") == want {
				return
			}
			c.work.Wait()
		}
		t.Errorf("%+v, want %s", c.List(), want)
	}
	resident("onetrue")
	s.says(t, "x", "live: two\ncanary: {digest: three, percent: 1}")
	resident("twotrue threetrue")
	s.says(t, "x", "live: three")
	resident("threetrue")
	if err := c.Unpin("x"); err != nil {
		t.Fatal(err)
	}
	resident("threefalse")
}

// A candidate may become a canary, or be looked at only.
func TestSwapOfVersions(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{})
	s.lay(t, "x", "one", "two", "three")
	s.says(t, "x", "live: one")
	at := func(weights string) string { return VersionFolder(s.dir, "x", weights) }
	if got := answersWith(t, c, "x", ""); got != "one" {
		t.Fatal(got)
	}
	e, err := c.Swap(t.Context(), Candidate{Name: "x", URI: at("two"), Digest: "two", As: Canary, Move: func() (string, error) {
		s.says(t, "x", "live: one\ncanary: {digest: two, percent: 100}")
		return at("two"), nil
	}})
	if err != nil || e.Digest != "two" {
		t.Fatalf("%+v, %v", e, err)
	}
	if a, b := answersWith(t, c, "x", "s"), answersWith(t, c, "x", ""); a != "two" || b != "one" || s.loads["two"] != 1 || s.loads["one"] != 1 {
		t.Error(a, b, s.loads)
	}
	if _, err := c.Swap(t.Context(), Candidate{Name: "x", URI: at("three"), As: Kept}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Swap(t.Context(), Candidate{Name: "x", URI: at("three"), Digest: "two"}); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	if a, b := answersWith(t, c, "x", "s"), answersWith(t, c, "x", ""); a != "two" || b != "one" || len(c.Entries()) != 2 {
		t.Error(a, b, c.Entries())
	}
	e, err = c.Swap(t.Context(), Candidate{Name: "x", URI: at("three"), Digest: "three", Move: func() (string, error) {
		s.says(t, "x", "live: three\ncanary: {digest: two, percent: 100}")
		return at("three"), nil
	}})
	if a, b := answersWith(t, c, "x", "s"), answersWith(t, c, "x", ""); err != nil || a != "two" || b != "three" || s.loads["three"] != 3 {
		t.Error(e, err, a, b, s.loads)
	}
	versions, alias, err := c.Versions("x")
	if err != nil || len(versions) != 3 || alias != (Alias{"three", "two", 100}) {
		t.Fatalf("%+v, %v, %v", versions, alias, err)
	}
	for i, want := range []string{"one false 0 ", "three true 0 resident", "two false 100 resident"} {
		if v := versions[i]; fmt.Sprint(v.Digest, " ", v.Live, " ", v.Entry.Percent, " ", v.Entry.State) != want {
			t.Errorf("%+v, want %s", v, want)
		}
	}
}

// A name that is unloaded is gone with its canary until its live version changes.
func TestUnloadOfVersions(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{})
	s.lay(t, "x", "one", "two")
	s.says(t, "x", "live: one\ncanary: {digest: two, percent: 100}")
	if a, b := answersWith(t, c, "x", "s"), answersWith(t, c, "x", ""); a != "two" || b != "one" {
		t.Fatal(a, b)
	}
	if err := c.Remove(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := answersWith(t, c, "x", "s"); !strings.Contains(got, "no adapter of that name") || len(c.List()) != 0 {
			t.Error(got, c.List())
		}
	}
	s.says(t, "x", "live: two")
	if got := answersWith(t, c, "x", "s"); got != "two" {
		t.Error(got)
	}
}

// What is registered from elsewhere stands before the versions of its name, and
// they are there again when it goes.
func TestVersionsGiveWay(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{})
	s.lay(t, "x", "one", "two")
	s.says(t, "x", "live: one\ncanary: {digest: two, percent: 100}")
	other := filepath.Join(t.TempDir(), "y")
	writeAdapter(t, filepath.Dir(other), "y", "other")
	for _, register := range []func() error{
		func() error { return c.Replace("x", other) },
		func() error { _, err := c.Swap(t.Context(), Candidate{Name: "x", URI: other}); return err },
	} {
		if a, b := answersWith(t, c, "x", "s"), answersWith(t, c, "x", ""); a != "two" || b != "one" {
			t.Error(a, b)
		}
		if err := register(); err != nil {
			t.Fatal(err)
		}
		if got := answersWith(t, c, "x", "s"); got != "other" || len(c.List()) != 1 {
			t.Error(got, c.List())
		}
		if err := c.Remove(t.Context(), "x", nil); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := answersWith(t, c, "x", "s"), answersWith(t, c, "x", ""); a != "two" || b != "one" {
		t.Error(a, b)
	}
}

// While an alias moves as fast as it can, every request gets the version that it
// had when the request came, or a later one.
func TestAliasUnderLoad(t *testing.T) {
	s := &shelf{}
	c := s.catalogue(t, Options{Loads: 4})
	const versions = 60
	order := map[string]int{}
	for i := range versions {
		w := fmt.Sprintf("v%02d", i)
		s.lay(t, "x", w)
		order[w] = i
	}
	s.says(t, "x", "live: v00")
	var told atomic.Int64 // the newest whose move has been acknowledged
	var requests sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 4 {
		requests.Go(func() {
			for ctx.Err() == nil {
				before := int(told.Load())
				got := answersWith(t, c, "x", "")
				if at, ok := order[got]; !ok || at < before {
					t.Errorf("%q after version %d was told", got, before)
					return
				}
			}
		})
	}
	for i := 1; i < versions; i++ {
		w := fmt.Sprintf("v%02d", i)
		write := func() error { s.says(t, "x", "live: "+w); return nil }
		var err error
		if i%2 == 0 {
			err = c.Redirect(t.Context(), "x", write)
		} else {
			folder := VersionFolder(s.dir, "x", w)
			_, err = c.Swap(t.Context(), Candidate{Name: "x", URI: folder, Digest: w, Move: func() (string, error) { return folder, write() }})
		}
		if err != nil {
			t.Fatal(err)
		}
		told.Store(int64(i))
	}
	stop()
	requests.Wait()
}
