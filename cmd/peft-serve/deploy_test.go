package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/peft-serve/peft-serve/adapters"
)

// owned are the settings that the chart has values of other names for, or that
// have no use in a container.
var owned = []string{"addr", "admin-addr", "adapter-cache", "adapters", "adapters-from", "aliases", "api-key", "api-key-file", "base", "config", "deregistration-delay", "drain", "keys", "memory-limit", "tls-cert", "tls-client-ca", "tls-key"}

// The chart's schema of values knows every setting, and no other.
func TestChartKnowsTheSettings(t *testing.T) {
	c, err := parse([]string{"--base", "x"}, silent())
	require.NoError(t, err)
	want := slices.Sorted(maps.Keys(c.(*serveCommand).values))
	text, err := os.ReadFile("../../deploy/helm/peft-serve/values.schema.json")
	require.NoError(t, err)
	var schema struct {
		Properties struct {
			Settings struct{ Properties map[string]any }
		}
	}
	require.NoError(t, json.Unmarshal(text, &schema))
	got := append(slices.Collect(maps.Keys(schema.Properties.Settings.Properties)), owned...)
	slices.Sort(got)
	require.Equal(t, want, got)
}

// deploy/metrics.txt, to which every query of the dashboard and the alerts is
// held, lists what a server that has answered, loaded, refused and tried a canary exposes.
func TestDeployedMetrics(t *testing.T) {
	folder, err := adapters.Open("../../testdata/goldens/llama/adapters/lora")
	require.NoError(t, err)
	aliases := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(aliases, "lora.yaml"), fmt.Appendf(nil, "canary: {digest: %s, percent: 100}", folder.Digest()), 0o644))
	url, end := runServer(t, io.Discard, "--aliases", aliases)
	defer end()
	status, text := send(t, http.MethodPost, url+"/v1/completions?adapter=lora", `{"prompt": "a b", "max_tokens": 2}`)
	require.Equal(t, http.StatusOK, status, text)
	_, text = send(t, http.MethodGet, url+"/metrics", "")
	found := map[string]map[string]bool{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "go_") || strings.HasPrefix(line, "process_network") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if before, inside, labelled := strings.Cut(line, "{"); labelled && !strings.Contains(before, " ") {
			name, rest = before, inside
		}
		if found[name] == nil {
			found[name] = map[string]bool{}
		}
		for _, part := range strings.Split(rest, `",`) {
			if label, _, ok := strings.Cut(part, `="`); ok {
				found[name][label] = true
			}
		}
	}
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintln(&list, strings.TrimSpace(name+" "+strings.Join(slices.Sorted(maps.Keys(found[name])), " ")))
	}
	file := "../../deploy/metrics.txt"
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(file, []byte(list.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), list.String(), "UPDATE=1 go test -run TestDeployedMetrics ./cmd/peft-serve")
}

// A server takes the configuration and the keys that the chart renders.
func TestDeployedConfiguration(t *testing.T) {
	files, err := filepath.Glob("../../deploy/manifests/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data := dataOf(t, file)
			var config map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(data["config.yaml"]), &config))
			_, keyed := config["keys"]
			for _, mounted := range []string{"aliases", "keys", "tls-cert", "tls-key", "adapter-cache", "adapters-from"} { // and what is fetched from there
				delete(config, mounted)
			}
			text, err := yaml.Marshal(config)
			require.NoError(t, err)
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), text, 0o644))
			args := []string{"--config", filepath.Join(dir, "config.yaml"), "--pin", "lora"}
			if keyed {
				require.NoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "keys", "keys.yaml"), []byte(data["keys.yaml"]), 0o640))
				args = append(args, "--keys", filepath.Join(dir, "keys"))
			}
			url, end := runServer(t, io.Discard, args...)
			defer end()
			status, text2 := send(t, http.MethodPost, url+"/v1/completions", `{"prompt": "a b", "max_tokens": 2}`)
			want := http.StatusOK
			if keyed {
				want = http.StatusUnauthorized
			}
			require.Equal(t, want, status, text2)
		})
	}
}

// dataOf is what a manifest's ConfigMap and Secret hold, by file.
func dataOf(t *testing.T, file string) map[string]string {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	all := map[string]string{}
	for documents := yaml.NewDecoder(f); ; {
		var d struct {
			Kind       string
			Data       map[string]string
			StringData map[string]string `yaml:"stringData"`
		}
		err := documents.Decode(&d)
		if errors.Is(err, io.EOF) {
			return all
		}
		var unlike *yaml.TypeError // some other kind
		if !errors.As(err, &unlike) {
			require.NoError(t, err)
		}
		maps.Copy(all, d.Data)
		maps.Copy(all, d.StringData)
	}
}

// The Job that answers a file in shards gives arguments that there are, and as many
// completions as shards.
func TestDeployedBatch(t *testing.T) {
	text, err := os.ReadFile("../../deploy/batch/job.yaml")
	require.NoError(t, err)
	var job struct {
		Spec struct {
			Completions int
			Template    struct {
				Spec struct {
					Containers []struct{ Args []string }
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &job))
	args := job.Spec.Template.Spec.Containers[0].Args
	for i := range args {
		args[i] = strings.Replace(args[i], "=/adapters", "="+t.TempDir(), 1)
	}
	c, err := parse(args, silent())
	require.NoError(t, err)
	b := c.(*batchCommand)
	require.Equal(t, job.Spec.Completions, b.Shards)
	part, err := b.shard([]string{"JOB_COMPLETION_INDEX=15"})
	require.NoError(t, err)
	require.Equal(t, 15, part)
}

// An Indexed Job does not start a batch again that would come to the same.
func TestStatusesOfTheJob(t *testing.T) {
	text, err := os.ReadFile("../../deploy/batch/job.yaml")
	require.NoError(t, err)
	require.Contains(t, string(text), fmt.Sprintf("operator: In, values: [%d, %d, %d]}", statusUsage, statusFailed, statusFiles))
}
