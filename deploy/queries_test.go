package deploy

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// added are the labels that scraping adds.
var added = []string{"namespace", "job", "pod", "le", "__name__"}

// metrics are the series of a running server and their labels, from a list that
// cmd/peft-serve's TestDeployedMetrics holds to one.
func metrics(t *testing.T) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(read(t, "metrics.txt")) {
		fields := strings.Fields(line)
		all[fields[0]] = append(fields[1:], added...)
	}
	require.Greater(t, len(all), 30)
	return all
}

// variables stand in for Grafana's.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$namespace", ".*", "$job", ".*", "$pod", ".*")

// check fails for a query that does not parse, or that names a metric or a
// label that no server has.
func check(t *testing.T, where, query string) {
	t.Helper()
	expression, err := parser.ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %s: %s", where, query, err)
		return
	}
	have := metrics(t)
	selectors, labels := 0, []string{}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		s, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		selectors++
		of, known := have[s.Name]
		if !known {
			t.Errorf("%s: no server has a metric %q", where, s.Name)
		}
		labels = append(labels, of...)
		for _, m := range s.LabelMatchers {
			if known && !slices.Contains(of, m.Name) {
				t.Errorf("%s: %s has no label %q", where, s.Name, m.Name)
			}
		}
		return nil
	})
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok {
			for _, label := range a.Grouping {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: %s groups by %q, which none of its metrics has", where, query, label)
				}
			}
		}
		return nil
	})
	if selectors == 0 {
		t.Errorf("%s: %s asks for no metric", where, query)
	}
}

func TestAlerts(t *testing.T) {
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary string }
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "helm/peft-serve/files/alerts.yaml")), &file))
	rules := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rules++
			check(t, r.Alert, r.Expr)
			require.NotEmpty(t, r.Annotations.Summary, r.Alert)
		}
	}
	require.Greater(t, rules, 5)
}

func TestDashboard(t *testing.T) {
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, "helm/peft-serve/files/dashboard.json")), &board))
	queries := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			queries++
			check(t, p.Title, variables.Replace(target.Expr))
		}
	}
	require.Greater(t, queries, 20)
	values := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			m := values.FindStringSubmatch(q["query"].(string))
			require.NotNil(t, m, v.Name)
			check(t, v.Name, variables.Replace(m[1]))
		}
	}
}

// TestScaling holds the queries by which replicas are counted.
func TestScaling(t *testing.T) {
	var queries []string
	for _, document := range documents(read(t, "manifests/production.yaml")) {
		var object struct {
			Kind string
			Spec struct {
				Triggers []struct{ Metadata map[string]string }
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object))
		for _, trigger := range object.Spec.Triggers {
			queries = append(queries, trigger.Metadata["query"])
		}
	}
	require.Len(t, queries, 2)
	var adapter struct{ Data map[string]string }
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "autoscaling/prometheus-adapter.yaml")), &adapter))
	var config struct {
		Rules []struct{ SeriesQuery, MetricsQuery string }
	}
	require.NoError(t, yaml.Unmarshal([]byte(adapter.Data["config.yaml"]), &config))
	for _, r := range config.Rules {
		queries = append(queries, r.SeriesQuery, strings.NewReplacer("<<.LabelMatchers>>", `namespace="peft"`, "<<.GroupBy>>", "pod").Replace(r.MetricsQuery))
	}
	require.Len(t, queries, 6)
	for _, q := range queries {
		check(t, "scaling", q)
	}
}
