package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
)

// meaning is what a name means: the digests of its live version and of its canary.
type meaning struct{ live, canary string }

// listing is the answer of GET /v1/adapters/NAME/versions.
type listing struct {
	Live     string
	Canary   struct{ Digest string }
	Versions []struct {
		Digest string
		Live   bool
	}
}

// versionsOf lists those of a name; nothing is there of one that is unknown.
func versionsOf(client *http.Client, url, name string) (l listing, torn string, err error) {
	r, err := send(client, http.MethodGet, url+"/v1/adapters/"+name+"/versions", nil)
	switch {
	case err != nil:
		return l, "", err
	case r.status == http.StatusNotFound:
		return l, "", nil
	case r.status != http.StatusOK:
		return l, fmt.Sprintf("versions: %d %s", r.status, r.text), nil
	}
	return l, "", json.Unmarshal(r.text, &l)
}

// meaning is what a server makes of a name, after a look at all of its versions,
// and at what it answers.
func (k *killing) meaning(client *http.Client, url, name string) (found meaning, torn string, err error) {
	l, torn, err := versionsOf(client, url, name)
	if err != nil || torn != "" {
		return found, torn, err
	}
	found = meaning{l.Live, l.Canary.Digest}
	plain := filepath.Join(k.folder, name)
	if _, err := os.Stat(plain); err == nil {
		folder, err := adapters.Open(plain)
		if err != nil {
			return found, err.Error(), nil
		}
		if found.live == "" { // it has not been loaded yet
			found.live = folder.Digest()
		}
	}
	for _, digest := range catalogue.VersionsOnDisk(k.folder, name) {
		folder, err := adapters.Open(catalogue.VersionFolder(k.folder, name, digest))
		switch {
		case err != nil:
			return found, err.Error(), nil
		case folder.Digest() != digest:
			return found, fmt.Sprintf("%s holds %s", digest, folder.Digest()), nil
		}
	}
	r, err := send(client, http.MethodPost, url+"/v1/completions", fmt.Appendf(nil, `{"model":%q,"prompt":"a","max_tokens":1}`, name))
	switch {
	case err != nil:
		return found, "", err
	case r.status == http.StatusNotFound && found == meaning{}:
	case r.status != http.StatusOK, r.digest == "" || r.digest != found.live && r.digest != found.canary:
		return found, fmt.Sprintf("%v answers with %d %q %s", found, r.status, r.digest, r.text), nil
	}
	return found, "", nil
}

// change is what a client asks for.
type change struct {
	method, path string
	body         []byte
	next         meaning
}

// step changes what a name means. It reports whether that was acknowledged; if
// not, the name may mean either.
func (c *changing) step(client *http.Client, url string, all []version) bool {
	before := c.may[0]
	l, _, err := versionsOf(client, url, c.name)
	if err != nil {
		return false
	}
	want := c.choose(before, l, all)
	c.may = []meaning{before, want.next}
	r, err := send(client, want.method, url+"/v1/adapters/"+c.name+want.path, want.body)
	if err != nil {
		return false
	}
	if r.status >= 300 {
		c.refused = fmt.Errorf("%s %s%s: %d %s", want.method, c.name, want.path, r.status, r.text)
		return false
	}
	c.may = []meaning{want.next}
	return true
}

// choose is the next change of a name that has those versions.
func (c *changing) choose(now meaning, l listing, all []version) change {
	fresh := all[c.random.IntN(len(all))]
	live := func(digest string) meaning {
		if digest == now.canary {
			return meaning{digest, ""}
		}
		return meaning{digest, now.canary}
	}
	var idle []string // that are on the disk, and not live
	for _, v := range l.Versions {
		if v.Digest != "" && v.Digest != now.live {
			idle = append(idle, v.Digest)
		}
	}
	slices.Sort(idle)
	kind := c.random.IntN(9)
	switch {
	case now.live == "":
	case kind == 0:
		return change{http.MethodDelete, "", nil, meaning{}}
	case kind == 1 && fresh.digest != now.live:
		return change{http.MethodPut, "?canary=50", fresh.archive, meaning{now.live, fresh.digest}}
	case kind == 2:
		return change{http.MethodPost, "/canary", []byte(`{"percent":0}`), meaning{now.live, ""}}
	case kind <= 4 && len(idle) > 0:
		digest := idle[c.random.IntN(len(idle))]
		return change{http.MethodPost, "/canary", fmt.Appendf(nil, `{"digest":%q,"percent":50}`, digest), meaning{now.live, digest}}
	case kind <= 6 && len(idle) > 0:
		digest := idle[c.random.IntN(len(idle))]
		return change{http.MethodPost, "/rollback", fmt.Appendf(nil, `{"digest":%q}`, digest), live(digest)}
	}
	return change{http.MethodPut, "", fresh.archive, live(fresh.digest)}
}
