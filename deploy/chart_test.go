package deploy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write manifests/ anew")

const chart = "helm/peft-serve"

// render is `helm template peft-serve` in the namespace peft.
func render(values map[string]any) (string, error) {
	c, err := loader.LoadDir(chart)
	if err != nil {
		return "", err
	}
	all, err := util.ToRenderValues(c, values, common.ReleaseOptions{Name: "peft-serve", Namespace: "peft", Revision: 1, IsInstall: true}, common.DefaultCapabilities.Copy())
	if err != nil {
		return "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(files[name]) != "" {
			text.WriteString("---\n# " + name + "\n" + strings.Trim(files[name], "\n") + "\n")
		}
	}
	return text.String(), nil
}

// variants are the files of values; "default" has none.
func variants(t *testing.T) map[string]map[string]any {
	all := map[string]map[string]any{"default": {}}
	files, err := filepath.Glob("helm/values/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = values(t, read(t, file))
	}
	return all
}

func values(t *testing.T, text string) map[string]any {
	v := map[string]any{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &v))
	return v
}

func read(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func TestManifests(t *testing.T) {
	for name, v := range variants(t) {
		t.Run(name, func(t *testing.T) {
			text, err := render(v)
			require.NoError(t, err)
			file := filepath.Join("manifests", name+".yaml")
			text = "# Rendered from the chart by `make manifests`; do not edit.\n" + text
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
			}
			require.Equal(t, read(t, file), text, "make manifests")
			objects := decodeAll(t, file, text)
			checkPods(t, objects)
			for _, m := range lint.RunAll(chart, v, "peft").Messages {
				require.Less(t, m.Severity, support.WarningSev, "%v", m)
			}
		})
	}
}

// checkPods holds Pods to the Pod Security Standard "restricted", and to what
// the rest of the chart says of them.
func checkPods(t *testing.T, objects []runtime.Object) {
	checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	seen := 0
	for _, o := range objects {
		d, ok := o.(*appsv1.Deployment)
		if !ok {
			continue
		}
		seen++
		pod := &d.Spec.Template
		result := policy.AggregateCheckResults(checks.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec))
		require.True(t, result.Allowed, result.ForbiddenDetail())
		mounted := map[string]bool{}
		for _, c := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, c.Name)
			for _, m := range c.VolumeMounts {
				mounted[m.Name] = true
			}
		}
		for _, v := range pod.Spec.Volumes {
			require.True(t, mounted[v.Name], "volume %s is mounted nowhere", v.Name)
			delete(mounted, v.Name)
		}
		require.Empty(t, mounted, "mounts without a volume")
		c := pod.Spec.Containers[0]
		require.True(t, slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "GOMAXPROCS" }))
		checkStop(t, configOf(t, objects), *pod.Spec.TerminationGracePeriodSeconds)
		checkMemory(t, configOf(t, objects), c)
	}
	require.Equal(t, 1, seen)
}

// configOf is what the ConfigMap tells the server.
func configOf(t *testing.T, objects []runtime.Object) map[string]any {
	for _, o := range objects {
		if m, ok := o.(*corev1.ConfigMap); ok && m.Data["config.yaml"] != "" {
			return values(t, m.Data["config.yaml"])
		}
	}
	require.Fail(t, "there is no config.yaml")
	return nil
}

// checkStop holds that the server has left and has let its requests end before the
// kubelet kills it.
func checkStop(t *testing.T, config map[string]any, grace int64) {
	var all time.Duration
	for _, setting := range []string{"deregistration-delay", "drain"} {
		d, err := time.ParseDuration(fmt.Sprint(config[setting]))
		require.NoError(t, err)
		require.Positive(t, d)
		all += d
	}
	require.Greater(t, time.Duration(grace)*time.Second, all)
}

// checkMemory holds that the server knows the container's limit, and that nothing
// says of Go's heap what only the server can know: how much the weights take.
func checkMemory(t *testing.T, config map[string]any, c corev1.Container) {
	require.EqualValues(t, c.Resources.Limits.Memory().Value(), config["memory-limit"])
	require.False(t, slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "GOMEMLIMIT" }))
}

// The limit is the same however its amount is written.
func TestMemoryLimit(t *testing.T) {
	for amount, want := range map[string]string{
		"4Gi": "4294967296", "1.5Gi": "1610612736", "500M": "500000000", "1000000000": "1000000000", "'2000000k'": "2000000000", "1Ti": "1099511627776",
	} {
		text, err := render(values(t, "resources: {limits: {memory: "+amount+"}}"))
		require.NoError(t, err)
		require.Contains(t, text, "memory-limit: "+want+"\n", amount)
	}
}

// TestRefusedValues holds that what is wrong is named, and where.
func TestRefusedValues(t *testing.T) {
	for name, c := range map[string]struct {
		values string
		want   []string
	}{
		"a misspelt value":       {"replica: 3", []string{"replica"}},
		"a type":                 {"replicas: two", []string{"/replicas", "got string, want integer"}},
		"a misspelt setting":     {"settings: {slot: 3}", []string{"/settings", "slot"}},
		"a setting of the chart": {"settings: {addr: ':9000'}", []string{"/settings", "addr"}},
		"the chart's limit":      {"settings: {memory-limit: 1GiB}", []string{"/settings", "memory-limit"}},
		"a size":                 {"settings: {kv-cache: lots}", []string{"/settings/kv-cache"}},
		"a scheme":               {"base: {uri: s3://bucket/base}", []string{"/base/uri"}},
		"a path without volume":  {"base: {uri: /base/model}", []string{"/base/volume"}},
		"two sources":            {"adapters: {source: {claim: {name: a}, image: {reference: b}}}", []string{"/adapters/source", "maxProperties"}},
		"a secret in values":     {"keys: {entries: [{name: a, key: secret}]}", []string{"/keys/entries/0", "hash"}},
		"both kinds of keys":     {"keys: {existingSecret: s, entries: [{name: a, hash: 'sha256:" + strings.Repeat("0", 64) + "'}]}", []string{"two ways"}},
		"kernels":                {"kernels: avx", []string{"/kernels", "avx512"}},
		"both autoscalers":       {"autoscaling: {hpa: {enabled: true}, keda: {enabled: true}}", []string{"enable one"}},
		"replicas":               {"autoscaling: {minReplicas: 9}", []string{"above maxReplicas"}},
		"no memory limit":        {"resources: {limits: {memory: null}}", []string{"/resources/limits", "memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(values(t, c.values))
			require.Error(t, err)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}
