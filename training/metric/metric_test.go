package metric

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// goldens are what scikit-learn, scipy and seqeval say: null where that is nothing.
type goldens struct {
	Labels []struct {
		Name           string
		Labels, Chosen []int
		measures
	}
	Values []struct {
		Name string
		A, B []float64
		measures
	}
	Decisions []struct {
		Name           string
		Labels, Chosen [][]bool
		measures
	}
	Entities []struct {
		Name           string
		Labels, Chosen [][]string
		measures
	}
}

type measures struct {
	Accuracy, F1, Matthews, Pearson, Spearman, Precision, Recall *float64
}

// same holds a measure against the library's, and to 0 where that has none.
func same(t *testing.T, name, measure string, got float64, want *float64) {
	t.Helper()
	expected := 0.0
	if want != nil {
		expected = *want
	}
	if !(math.Abs(got-expected) <= 1e-12) {
		t.Errorf("%s: %s is %.17g, want %.17g", name, measure, got, expected)
	}
}

// TestGoldens holds every measure against those of the libraries that define them.
func TestGoldens(t *testing.T) {
	var g goldens
	b, err := os.ReadFile("testdata/goldens.json")
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil || len(g.Labels) == 0 || len(g.Values) == 0 || len(g.Decisions) == 0 || len(g.Entities) == 0 {
		t.Fatal(err, len(g.Labels), len(g.Values), len(g.Decisions), len(g.Entities))
	}
	for _, c := range g.Labels {
		for name, want := range map[string]*float64{"accuracy": c.Accuracy, "matthews": c.Matthews} {
			same(t, c.Name, name, OfLabels(name)(c.Labels, c.Chosen), want)
		}
		if c.F1 != nil || len(c.Labels) == 0 { // scikit-learn has none of several classes
			same(t, c.Name, "f1", OfLabels("f1")(c.Labels, c.Chosen), c.F1)
		}
	}
	for _, c := range g.Values {
		same(t, c.Name, "pearson", OfValues("pearson")(c.A, c.B), c.Pearson)
		same(t, c.Name, "spearman", OfValues("spearman")(c.A, c.B), c.Spearman)
	}
	for _, c := range g.Decisions {
		same(t, c.Name, "accuracy", Subset(c.Labels, c.Chosen), c.Accuracy)
		same(t, c.Name, "F1", MultiLabelF1(c.Labels, c.Chosen), c.F1)
	}
	for _, c := range g.Entities {
		f := Entities(c.Labels, c.Chosen)
		same(t, c.Name, "precision", f.Precision, c.Precision)
		same(t, c.Name, "recall", f.Recall, c.Recall)
		same(t, c.Name, "F1", f.F1, c.F1)
	}
}

// TestNotFinite: a prediction that is no number correlates with nothing.
func TestNotFinite(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, name := range []string{"pearson", "spearman"} {
			if got := OfValues(name)([]float64{1, 2, 3}, []float64{1, v, 3}); got != 0 {
				t.Errorf("%s of %v is %v", name, v, got)
			}
		}
	}
}

// TestEmptyDecisions: of no examples nothing is right.
func TestEmptyDecisions(t *testing.T) {
	if f1, all := MultiLabelF1(nil, nil), Subset(nil, nil); f1 != 0 || all != 0 {
		t.Error(f1, all)
	}
}

// TestNames: what has no measure has none of either kind.
func TestNames(t *testing.T) {
	if OfLabels("pearson") != nil || OfValues("f1") != nil || OfLabels("") != nil {
		t.Error("a measure of another kind")
	}
	if got := Mean(map[string]float64{"f1": 0.5, "accuracy": 0.75, "loss": 9}, []string{"accuracy", "f1"}); got != 0.625 {
		t.Error(got)
	}
}

// TestIsIOB2 tells tags of entities from other classes of tokens.
func TestIsIOB2(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  bool
	}{
		{[]string{"O", "B-PER", "I-PER"}, true},
		{[]string{"B-x", "I-x"}, true},
		{[]string{"O", "I-PER"}, false},
		{[]string{"O", "B-"}, false},
		{[]string{"NOUN", "VERB"}, false},
		{[]string{"O", "B-PER", "E-PER"}, false},
		{[]string{"O"}, false},
		{nil, false},
	} {
		if got := IsIOB2(c.names); got != c.want {
			t.Errorf("%q: %v", c.names, got)
		}
	}
}
