package deploy

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

var separator = regexp.MustCompile(`(?m)^---.*$`)

// documents are the YAML documents of a text that are more than comments.
func documents(text string) []string {
	var all []string
	for _, d := range separator.Split(text, -1) {
		var any any
		if err := yaml.Unmarshal([]byte(d), &any); err != nil || any != nil {
			all = append(all, d) // what cannot be read is told by who decodes it
		}
	}
	return all
}

// known are the types that Kubernetes and the Prometheus operator publish.
func known(t *testing.T) runtime.Decoder {
	require.NoError(t, monitoringv1.AddToScheme(scheme.Scheme))
	return serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
}

// decode reads a manifest as strictly as `kubectl apply --validate=strict`.
func decode(t *testing.T, document string) (runtime.Object, error) {
	object, of, err := known(t).Decode([]byte(document), nil, nil)
	if err == nil || !runtime.IsNotRegisteredError(err) {
		return object, err
	}
	all, err := kinds()
	require.NoError(t, err)
	k, found := all[*of]
	if !found {
		return nil, fmt.Errorf("no schema here is of %s", of)
	}
	var content map[string]any
	if err := yaml.UnmarshalStrict([]byte(document), &content); err != nil {
		return nil, err
	}
	if wrong := k.faults(integers(content).(map[string]any)); len(wrong) > 0 {
		return nil, fmt.Errorf("%s: %s", of.Kind, strings.Join(wrong, "; "))
	}
	return nil, nil
}

// integers makes whole numbers int64, as an API server reads them.
func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = integers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

// decodeAll fails for every document that is refused, and returns those of
// Kubernetes' own types.
func decodeAll(t *testing.T, name, text string) []runtime.Object {
	t.Helper()
	var objects []runtime.Object
	all := documents(text)
	require.NotEmpty(t, all, name)
	for _, d := range all {
		object, err := decode(t, d)
		if err != nil {
			t.Errorf("%s: %s\n%s", name, err, firstLines(d))
		}
		if object != nil {
			objects = append(objects, object)
		}
	}
	return objects
}

func firstLines(d string) string {
	lines := bytes.SplitN(bytes.TrimSpace([]byte(d)), []byte("\n"), 6)
	return string(bytes.Join(lines[:min(5, len(lines))], []byte("\n")))
}

func TestStrictness(t *testing.T) {
	for name, c := range map[string]struct{ document, want string }{
		"a type":           {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: two}", "replicas"},
		"a field":          {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replica: 2}", `unknown field "spec.replica"`},
		"a kind":           {"apiVersion: trainer.kubeflow.org/v1alpha1\nkind: Trainjob\nmetadata: {name: x}", "no schema here"},
		"a custom field":   {"apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: x}\nspec: {runtimeRef: {name: r}, trainers: {}}", "unknown field spec.trainers"},
		"a custom type":    {"apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: x}\nspec: {runtimeRef: {name: r}, trainer: {numNodes: two}}", "spec.trainer.numNodes"},
		"a custom rule":    {"apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata: {name: x}\nspec: {selector: {matchLabels: {a: b}}, targetPorts: [{number: 8080}], endpointPickerRef: {name: e}}", "port"},
		"a repeated field": {"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {type: ClusterIP, type: NodePort}", `"type" already set`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(t, c.document)
			require.ErrorContains(t, err, c.want)
		})
	}
}
