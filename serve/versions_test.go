package serve

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
)

// versionArchive is a golden adapter that is scaled otherwise: a version of its own.
func versionArchive(t *testing.T, alpha int) string {
	t.Helper()
	dir := filepath.Join(goldens, "adapters", "lora")
	config, err := os.ReadFile(filepath.Join(dir, "adapter_config.json"))
	require.NoError(t, err)
	weights, err := os.ReadFile(filepath.Join(dir, "adapter_model.safetensors"))
	require.NoError(t, err)
	scaled := regexp.MustCompile(`"lora_alpha": *[\d.]+`).ReplaceAllString(string(config), fmt.Sprintf(`"lora_alpha": %d`, alpha))
	return string(gzipOf(t, tarOf(t, entry{name: "adapter_config.json", body: scaled}, entry{name: "adapter_model.safetensors", body: string(weights)})))
}

// publishVersion uploads one and returns its digest.
func (s *site) publishVersion(t *testing.T, path string, alpha, status int) string {
	t.Helper()
	got := s.send(t, http.MethodPut, "/v1/adapters/"+path, versionArchive(t, alpha))
	require.Equal(t, status, got.status, got.body)
	return got.header.Get("X-Adapter-Digest")
}

// live is the version that a session gets, and what it answers.
func (s *site) ask(t *testing.T, model, session string) (digest, text string) {
	t.Helper()
	got := s.post(t, "/v1/completions", `{"model":"`+model+`","prompt":"Hello there","max_tokens":6,"ignore_eos":true,"logprobs":1,"temperature":0}`, "X-Session-Id", session)
	require.Equal(t, 200, got.status, got.body)
	return got.header.Get("X-Adapter-Digest"), member(t, got.body, "choices")
}

// listedVersions are the digests of an adapter's versions, the newest first, with
// marks of what they are.
func (s *site) listedVersions(t *testing.T, name string) (all []string) {
	t.Helper()
	got := s.get(t, "/v1/adapters/"+name+"/versions")
	require.Equal(t, 200, got.status, got.body)
	for _, v := range listOf(t, got.body, "versions") {
		what := member(t, v, "digest")
		what = strings.Trim(what, `"`)
		if member(t, v, "live") == "true" {
			what += " live"
		}
		if strings.Contains(v, "canary_percent") {
			what += " canary " + member(t, v, "canary_percent")
		}
		all = append(all, what)
	}
	return all
}

// sessionsOf are a session that a canary answers, and one that it does not.
func (s *site) sessionsOf(t *testing.T, name, canaryDigest string) (with, without string) {
	t.Helper()
	for i := 0; with == "" || without == ""; i++ {
		require.Less(t, i, 1000)
		session := fmt.Sprint("session-", i)
		if digest, _ := s.ask(t, name, session); digest == canaryDigest {
			with = session
		} else {
			without = session
		}
	}
	return with, without
}

func TestVersions(t *testing.T) {
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 2})
	dir := s.server.config.Adapters
	one := s.publishVersion(t, "x", 1, 201)
	require.DirExists(t, filepath.Join(dir, "x"), "the first is where everybody looks")
	require.Equal(t, []string{one + " live"}, s.listedVersions(t, "x"))
	_, saysOne := s.ask(t, "x", "")

	two := s.publishVersion(t, "x", 2, 200)
	require.NoDirExists(t, filepath.Join(dir, "x"))
	require.Equal(t, []string{two + " live", one}, s.listedVersions(t, "x"))
	digest, saysTwo := s.ask(t, "x", "")
	require.Equal(t, two, digest)
	require.NotEqual(t, saysOne, saysTwo)

	// Back, and the same bits.
	got := s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+one+`"}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"`+one+`"`, member(t, got.body, "live"))
	digest, again := s.ask(t, "x", "")
	require.Equal(t, one, digest)
	require.Equal(t, saysOne, again)
	require.Equal(t, 200, s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+one+`"}`).status, "it is live already")

	// A canary, its promotion, and an upload that is one from the first.
	require.Equal(t, 200, s.post(t, "/v1/adapters/x/canary", `{"digest":"`+two+`","percent":50}`).status)
	require.Equal(t, []string{two + " canary 50", one + " live"}, s.listedVersions(t, "x"))
	with, without := s.sessionsOf(t, "x", two)
	for range 3 {
		digest, says := s.ask(t, "x", with)
		require.Equal(t, []string{two, saysTwo}, []string{digest, says})
		digest, says = s.ask(t, "x", without)
		require.Equal(t, []string{one, saysOne}, []string{digest, says})
	}
	require.Equal(t, 1, strings.Count(s.get(t, "/v1/models").body, `"id":"x"`), "it is one model")
	require.Equal(t, 1, strings.Count(s.get(t, "/lora-adapters").body, `"name":"x"`))
	require.Equal(t, 200, s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+two+`"}`).status)
	require.Equal(t, []string{two + " live", one}, s.listedVersions(t, "x"))
	three := s.publishVersion(t, "x?canary=100", 3, 200)
	require.Equal(t, []string{three + " canary 100", two + " live", one}, s.listedVersions(t, "x"))
	digest, _ = s.ask(t, "x", "anyone")
	require.Equal(t, three, digest)
	require.Equal(t, 200, s.post(t, "/v1/adapters/x/canary", `{"percent":0}`).status)
	require.Equal(t, 200, s.post(t, "/v1/adapters/x/canary", `{"percent":0}`).status, "there is none")
	digest, _ = s.ask(t, "x", "anyone")
	require.Equal(t, two, digest)

	// Two are kept beside it, the newest.
	four := s.publishVersion(t, "x?canary=0", 4, 200)
	require.Equal(t, []string{four, three, two + " live"}, s.listedVersions(t, "x"))
	five := s.publishVersion(t, "x", 5, 200)
	require.Equal(t, []string{five + " live", four, three}, s.listedVersions(t, "x"))
	require.NoDirExists(t, catalogue.VersionFolder(dir, "x", two))
	// What is there again is what is live.
	require.Equal(t, three, s.publishVersion(t, "x", 3, 200))
	require.Equal(t, []string{three + " live", five, four}, s.listedVersions(t, "x"))

	// What an operator has laid there counts, and is nobody's to remove.
	laid := catalogue.VersionFolder(dir, "x", goldenDigest(t, "dora"))
	layAdapter(t, "dora", laid)
	require.Equal(t, 200, s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+goldenDigest(t, "dora")+`"}`).status)
	require.Equal(t, 409, s.send(t, http.MethodDelete, "/v1/adapters/x", "").status)
	require.Len(t, s.listedVersions(t, "x"), 3)
	require.Equal(t, 200, s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+five+`"}`).status)
	require.NoError(t, os.RemoveAll(laid))

	require.Equal(t, 204, s.send(t, http.MethodDelete, "/v1/adapters/x", "").status)
	require.Equal(t, 404, s.get(t, "/v1/adapters/x/versions").status)
	require.Equal(t, 404, s.post(t, "/v1/completions", `{"model":"x","prompt":"a"}`).status)
	for _, folder := range []string{catalogue.VersionsFolder, catalogue.AliasesFolder} {
		left, err := os.ReadDir(filepath.Join(dir, folder))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	s.publishVersion(t, "x", 1, 201)
}

// What cannot be is refused by name, and changes nothing.
func TestVersionsRefused(t *testing.T) {
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 1})
	one := s.publishVersion(t, "x", 1, 201)
	two := s.publishVersion(t, "x?canary=0", 2, 200)
	before := s.listedVersions(t, "x")
	for _, c := range []struct {
		path, body string
		status     int
		message    string
	}{
		{"x/rollback", `{}`, 400, "digest is missing"},
		{"x/rollback", `{"digest":"../../etc"}`, 404, "no version ../../etc of adapter"},
		{"x/rollback", `{"digest":"` + two + `","percent":3}`, 400, "percent"},
		{"x/canary", `{"digest":"` + two + `"}`, 400, "percent is missing"},
		{"x/canary", `{"digest":"` + two + `","percent":101}`, 400, "percent is missing or outside of 0 to 100"},
		{"x/canary", `{"percent":5}`, 400, "digest is missing"},
		{"x/canary", `{"digest":"` + one + `","percent":5}`, 409, "is the live one"},
		{"x/canary", `{"digest":"` + goldenDigest(t, "dora") + `","percent":5}`, 404, "GET /v1/adapters/x/versions lists them"},
		{"nobody/rollback", `{"digest":"` + two + `"}`, 404, "is not known here"},
		{"nobody/canary", `{"digest":"` + two + `","percent":5}`, 404, "is not known here"},
	} {
		got := s.post(t, "/v1/adapters/"+c.path, c.body)
		require.Equal(t, c.status, got.status, got.body)
		require.Contains(t, got.body, c.message)
	}
	for path, want := range map[string]string{
		"x?canary=101": "no number from 0 to 100", "x?canary=": "no number", "x?percent=5": "percent is not a query parameter", "new?canary=5": "has no live version",
	} {
		got := s.send(t, http.MethodPut, "/v1/adapters/"+path, versionArchive(t, 3))
		require.Contains(t, []int{400, 409}, got.status, got.body)
		require.Contains(t, got.body, want)
	}
	require.Equal(t, 409, s.send(t, http.MethodPut, "/v1/adapters/x?canary=5", versionArchive(t, 1)).status, "it is live")
	require.Equal(t, before, s.listedVersions(t, "x"))
	// A version that is broken on the disk does not become live.
	require.NoError(t, os.WriteFile(filepath.Join(catalogue.VersionFolder(s.server.config.Adapters, "x", two), "adapter_model.safetensors"), []byte("no"), 0o644))
	got := s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+two+`"}`)
	require.Equal(t, 422, got.status, got.body)
	require.NotContains(t, got.body, s.server.config.Adapters)
	digest, _ := s.ask(t, "x", "")
	require.Equal(t, one, digest)

	none := realSite(t)
	none.publishVersion(t, "x", 1, 201)
	got = none.send(t, http.MethodPut, "/v1/adapters/x?canary=0", versionArchive(t, 2))
	require.Equal(t, 409, got.status, got.body)
	require.Contains(t, got.body, "--keep-versions")
	two = none.publishVersion(t, "x", 2, 200)
	require.Equal(t, []string{two + " live"}, none.listedVersions(t, "x"), "nothing is kept")
	require.NoDirExists(t, filepath.Join(none.server.config.Adapters, catalogue.VersionsFolder))
	// A canary is possible all the same; who loses, goes.
	three := none.publishVersion(t, "x?canary=50", 3, 200)
	require.Equal(t, []string{three + " canary 50", two + " live"}, none.listedVersions(t, "x"))
	require.Equal(t, 200, none.post(t, "/v1/adapters/x/rollback", `{"digest":"`+three+`"}`).status)
	require.Equal(t, []string{three + " live"}, none.listedVersions(t, "x"))
}

// Where an operator says which versions answer, the server does not.
func TestAliasesOfAnOperator(t *testing.T) {
	aliases := t.TempDir()
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 3, Aliases: aliases}, func(o *catalogue.Options, _ *Parts) { o.Aliases = aliases })
	one := s.publishVersion(t, "x", 1, 201)
	two := s.publishVersion(t, "x?canary=0", 2, 200)
	for _, got := range []answer{
		s.send(t, http.MethodPut, "/v1/adapters/x", versionArchive(t, 3)), s.send(t, http.MethodPut, "/v1/adapters/x?canary=5", versionArchive(t, 3)),
		s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+two+`"}`), s.post(t, "/v1/adapters/x/canary", `{"digest":"`+two+`","percent":5}`),
	} {
		require.Equal(t, 409, got.status, got.body)
		require.Contains(t, got.body, `"code":"alias_of_operator"`)
	}
	// As Kubernetes mounts a ConfigMap: links that are turned.
	mount := func(revision, text string) {
		require.NoError(t, os.Mkdir(filepath.Join(aliases, revision), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(aliases, revision, "x.yaml"), []byte(text), 0o644))
		require.NoError(t, os.Symlink(revision, filepath.Join(aliases, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(aliases, "..data_tmp"), filepath.Join(aliases, "..data")))
		if !exists(filepath.Join(aliases, "x.yaml")) {
			require.NoError(t, os.Symlink(filepath.Join("..data", "x.yaml"), filepath.Join(aliases, "x.yaml")))
		}
	}
	mount("..1", "live: "+two)
	digest, _ := s.ask(t, "x", "")
	require.Equal(t, two, digest)
	mount("..2", "live: "+one+"\ncanary: {digest: "+two+", percent: 100}")
	digest, _ = s.ask(t, "x", "anyone")
	require.Equal(t, two, digest)
	require.Equal(t, []string{two + " canary 100", one + " live"}, s.listedVersions(t, "x"))
	mount("..3", "live: "+one)
	digest, _ = s.ask(t, "x", "anyone")
	require.Equal(t, one, digest)
	got := s.get(t, "/v1/adapters/x")
	require.NotContains(t, got.body, "warning")
	mount("..4", "live: ?")
	digest, _ = s.ask(t, "x", "anyone")
	require.Equal(t, one, digest, "what it said before holds")
	require.Contains(t, s.get(t, "/v1/adapters/x").body, "the adapter's alias cannot be followed")
}

// Two versions of one adapter and combinations of them in one batch: each request
// gets the bits that it gets alone, under the digest of its own version.
func TestVersionsInOneBatch(t *testing.T) {
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 2})
	one := s.publishVersion(t, "x", 1, 201)
	two := s.publishVersion(t, "x?canary=50", 40, 200)
	with, without := s.sessionsOf(t, "x", two)
	type answered struct{ digest, text string }
	models := []string{"x", "x:0.5,lora:0.5", "x:2"}
	alone := map[[2]string]answered{}
	for _, model := range models {
		for _, session := range []string{with, without} {
			digest, text := s.ask(t, model, session)
			alone[[2]string{model, session}] = answered{digest, text}
		}
		require.NotEqual(t, alone[[2]string{model, with}], alone[[2]string{model, without}], model)
	}
	require.Equal(t, two, alone[[2]string{"x", with}].digest)
	require.Equal(t, one, alone[[2]string{"x", without}].digest)
	var clients sync.WaitGroup
	for i := range 24 {
		clients.Go(func() {
			key := [2]string{models[i%3], []string{with, without}[i/3%2]}
			digest, text := s.ask(t, key[0], key[1])
			if (answered{digest, text}) != alone[key] {
				t.Errorf("%v: %s %s, alone %v", key, digest, text, alone[key])
			}
		})
	}
	clients.Wait()
}

// Versions are counted by digest, as long as there are some to compare.
func TestMetricsByVersion(t *testing.T) {
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 1})
	before := s.series(t)
	one := s.publishVersion(t, "x", 1, 201)
	s.ask(t, "x", "")
	require.NotContains(t, s.get(t, "/metrics").body, "peft_version_", "there is one version")
	two := s.publishVersion(t, "x?canary=25", 2, 200)
	with, without := s.sessionsOf(t, "x", two)
	s.ask(t, "x", with)
	s.ask(t, "x", without)
	text := s.get(t, "/metrics").body
	for _, version := range []struct {
		digest string
		share  string
	}{{one, "0.75"}, {two, "0.25"}} {
		label := fmt.Sprintf(`{adapter="x",digest="%s"`, version.digest)
		require.Contains(t, text, "\npeft_version_requests_total"+label+`,outcome="length"}`)
		require.Contains(t, text, "\npeft_version_completion_tokens_total"+label)
		require.Contains(t, text, "\npeft_version_time_to_first_token_seconds_count"+label)
		require.Contains(t, text, "\npeft_version_request_seconds_count"+label)
		require.Contains(t, text, "\npeft_version_share"+label+"} "+version.share)
		require.Contains(t, text, "\npeft_serve_adapter_info"+label)
	}
	require.Equal(t, 1, strings.Count(regexp.MustCompile(`running_lora_adapters="[^"]*"`).FindString(text), "x"))
	// They go with their versions.
	require.Equal(t, 200, s.post(t, "/v1/adapters/x/rollback", `{"digest":"`+two+`"}`).status)
	for i := range 20 {
		s.publishVersion(t, "x", i+3, 200)
		s.ask(t, "x", "")
	}
	text = s.get(t, "/metrics").body
	require.NotContains(t, text, one)
	require.Less(t, strings.Count(text, "\npeft_version_requests_total"), 4)
	require.Equal(t, 204, s.send(t, http.MethodDelete, "/v1/adapters/x", "").status)
	after := slices.DeleteFunc(s.series(t), func(series string) bool { return strings.Contains(series, "peft_http_requests_total") })
	before = slices.DeleteFunc(before, func(series string) bool { return strings.Contains(series, "peft_http_requests_total") })
	for _, series := range after {
		if strings.Contains(series, `"x"`) {
			t.Error(series)
		}
	}
	require.NotEmpty(t, before)
}

// Who may publish a name may move its alias; who sees it may look; to others it is
// not there.
func TestRightsToVersions(t *testing.T) {
	log := &logged{}
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 2, Audit: log.logger(slog.LevelInfo)})
	s.server.settings.Store(newSettings(readKeys(t, twoTeams+`
- {name: guest, key: guest-secret, use: [team-a.x]}
`), Limits{}))
	put := func(alpha int) string {
		got := s.as(t, "team-a", http.MethodPut, "/v1/adapters/team-a.x", versionArchive(t, alpha))
		require.Less(t, got.status, 300, got.body)
		return got.header.Get("X-Adapter-Digest")
	}
	one, two := put(1), put(2)
	rollback, tried := `{"digest":"`+one+`"}`, `{"digest":"`+one+`","percent":5}`
	const at = "/v1/adapters/team-a.x/"
	for key, want := range map[string][3]int{"team-b": {404, 404, 404}, "guest": {200, 403, 403}, "globs": {200, 200, 200}, "team-a": {200, 200, 200}, "root": {200, 200, 200}} {
		require.Equal(t, want[0], s.as(t, key, "GET", at+"versions", "").status, key)
		require.Equal(t, want[2], s.as(t, key, "POST", at+"canary", tried).status, key)
		require.Equal(t, want[1], s.as(t, key, "POST", at+"rollback", rollback).status, key)
		require.Equal(t, want[1], s.as(t, key, "POST", at+"rollback", `{"digest":"`+two+`"}`).status, key)
	}
	require.NotContains(t, s.as(t, "guest", "GET", at+"versions", "").body, s.server.config.Adapters)
	for _, line := range []string{
		`"action":"canary","outcome":"done","adapter":"team-a.x","old_digest":"` + two + `","new_digest":"` + one + `","status":200,"key":"team-a"`,
		`"action":"rollback","outcome":"done","adapter":"team-a.x","old_digest":"` + two + `","new_digest":"` + one + `","status":200,"key":"globs"`,
		`"action":"rollback","outcome":"refused","adapter":"team-a.x"`,
	} {
		require.Contains(t, log.String(), line)
	}
	s = realSiteOf(t, Config{Name: "tiny", ReadOnly: true})
	require.Equal(t, 403, s.post(t, "/v1/adapters/lora/rollback", rollback).status)
	require.Equal(t, 403, s.post(t, "/v1/adapters/lora/canary", tried).status)
	require.Equal(t, 200, s.get(t, "/v1/adapters/lora/versions").status)
}

// listOf is a list at a path.
func listOf(t *testing.T, body string, path ...string) (all []string) {
	t.Helper()
	var list []json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(member(t, body, path...)), &list))
	for _, item := range list {
		all = append(all, string(item))
	}
	return all
}
