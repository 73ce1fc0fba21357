package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/training"
)

// controller is Trainer's endpoint, as its guide describes it.
type controller struct {
	*httptest.Server
	ca, token string // files

	mu      sync.Mutex
	status  int
	tokens  []string
	reports []trainerStatus
	bodies  []string
}

func newController(t *testing.T) *controller {
	t.Helper()
	dir := t.TempDir()
	c := &controller{ca: filepath.Join(dir, "ca.crt"), token: filepath.Join(dir, "token"), status: http.StatusOK}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var report struct {
			TrainerStatus trainerStatus `json:"trainerStatus"`
		}
		strict := json.NewDecoder(bytes.NewReader(body))
		strict.DisallowUnknownFields()
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.Method != http.MethodPost || r.URL.Path != "/status" || r.Header.Get("Content-Type") != "application/json" || strict.Decode(&report) != nil {
			t.Errorf("%s %s: %s", r.Method, r.URL, body)
		}
		c.tokens, c.reports, c.bodies = append(c.tokens, r.Header.Get("Authorization")), append(c.reports, report.TrainerStatus), append(c.bodies, string(body))
		w.WriteHeader(c.status)
		fmt.Fprint(w, `{"kind":"Status","message":"as the test wants it"}`)
	}))
	c.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	c.StartTLS()
	t.Cleanup(c.Close)
	put(t, c.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})))
	put(t, c.token, "first\n")
	return c
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// said are the reports that have come, at least so many.
func (c *controller) said(t *testing.T, least int) []trainerStatus {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		reports := c.reports
		c.mu.Unlock()
		if len(reports) >= least {
			return reports
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d reports, want %d", len(reports), least)
		}
	}
}

func (c *controller) env(t *testing.T) {
	t.Setenv(trainerURL, c.URL+"/status")
	t.Setenv(trainerCA, c.ca)
	t.Setenv(trainerToken, c.token)
}

// values are a report's metrics by name.
func (s trainerStatus) values() map[string]string {
	all := map[string]string{}
	for _, m := range s.Metrics {
		all[m.Name] = m.Value
	}
	return all
}

// A run tells a TrainJob's controller that it has begun, and that it is done.
func TestRunTellsItsTrainJob(t *testing.T) {
	c := newController(t)
	c.env(t)
	args, _ := tinyRun(t)
	succeeds(t, "in 3 steps", append(args, "--validation-split", "0.3", "--max-steps", "3")...)
	reports := c.said(t, 1)
	last := reports[len(reports)-1]
	if *last.Percentage != 100 || *last.Remaining != 0 {
		t.Errorf("%d %%, %d s left", *last.Percentage, *last.Remaining)
	}
	values := last.values()
	for _, name := range []string{"step", "epoch", "loss", "grad_norm", "learning_rate", "tokens_per_second", "eval_loss"} {
		if values[name] == "" {
			t.Errorf("%s is missing: %v", name, values)
		}
	}
	if values["step"] != "3" {
		t.Errorf("step %s", values["step"])
	}
	if _, err := time.Parse(time.RFC3339, last.Updated); err != nil {
		t.Error(err)
	}
	for _, token := range c.tokens {
		if token != "Bearer first" {
			t.Errorf("the token is %q", token)
		}
	}
}

// A controller that refuses, is not who it says, or is not there, ends no run, and
// is noted once.
func TestRunWithoutAController(t *testing.T) {
	for name, spoil := range map[string]func(c *controller) (want string){
		"refuses": func(c *controller) string {
			c.status = http.StatusForbidden
			return "403 Forbidden as the test wants it"
		},
		"redirects":    func(c *controller) string { c.status = http.StatusTemporaryRedirect; return "307" },
		"another's":    func(c *controller) string { put(t, c.ca, otherCA(t)); return "certificate" },
		"no authority": func(c *controller) string { put(t, c.ca, "none"); return trainerCA },
		"no token":     func(c *controller) string { _ = os.Remove(c.token); return trainerToken },
		"not there":    func(c *controller) string { c.Close(); return "connect" },
		"no TLS": func(*controller) string {
			t.Setenv(trainerURL, "http://127.0.0.1:1/status")
			return "not an https:// address"
		},
		"half of it": func(*controller) string {
			t.Setenv(trainerToken, "")
			return trainerToken + " is not: progress is not told"
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newController(t)
			c.env(t)
			want := spoil(c)
			args, _ := tinyRun(t)
			code, _, notes := command(t, args...)
			if code != 0 || !strings.Contains(notes, want) || strings.Count(notes, "told") != 1 {
				t.Errorf("%d, want one note of %q:\n%s", code, want, notes)
			}
		})
	}
}

// otherCA is another authority's certificate.
func otherCA(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
}

// heard is an observer that keeps what is noted.
type heard struct {
	progress
	notes []string
}

func (h *heard) Note(format string, a ...any) { h.notes = append(h.notes, fmt.Sprintf(format, a...)) }

// The token is read anew for each report, what comes too often is left out, and
// what follows a failure is told.
func TestReportsOfATrainJob(t *testing.T) {
	c := newController(t)
	h := &heard{progress: progress{out: io.Discard}}
	j := newTrainJob(h, c.URL+"/status", c.ca, c.token, time.Millisecond)
	j.Start(1000, 200)
	first := c.said(t, 1)[0]
	if *first.Percentage != 20 || first.Remaining != nil || len(first.Metrics) > 0 {
		t.Errorf("%+v", first)
	}
	put(t, c.token, "second")
	c.mu.Lock()
	c.status = http.StatusInternalServerError
	c.mu.Unlock()
	j.Step(training.StepReport{Step: 400, Loss: 0.25, Norm: math.Inf(1), Bytes: &training.Account{}})
	second := c.said(t, 2)[1]
	if *second.Percentage != 40 || second.Remaining == nil || *second.Remaining < 0 || second.values()["loss"] != "0.25" || second.values()["grad_norm"] != "" || c.tokens[1] != "Bearer second" {
		t.Errorf("%+v, %s", second, c.tokens)
	}
	c.mu.Lock()
	c.status = http.StatusOK
	c.mu.Unlock()
	j.finish(false)
	if len(h.notes) != 1 || !strings.Contains(h.notes[0], "500") {
		t.Errorf("noted: %v", h.notes)
	}

	j = newTrainJob(h, c.URL+"/status", c.ca, c.token, time.Hour)
	before := len(c.said(t, 0))
	j.Start(1000, 0)
	c.said(t, before+1)
	for step := range 1000 {
		j.Step(training.StepReport{Step: step + 1, Bytes: &training.Account{}})
	}
	j.Validated(training.StepReport{Step: 1000, Validation: training.Scores{"loss": 1, "accuracy": 0.5}})
	j.finish(true)
	reports := c.said(t, before+2)[before:]
	if last := reports[len(reports)-1]; len(reports) != 2 || *last.Percentage != 100 || last.values()["eval_accuracy"] != "0.5" {
		t.Errorf("%d reports, the last %+v", len(reports), last)
	}
}

// deploy/trainer-status.json, which deploy's tests hold to Trainer's own types, is
// what is sent.
func TestDeployedStatus(t *testing.T) {
	percentage, left := 45, 120
	body, err := json.MarshalIndent(map[string]trainerStatus{"trainerStatus": {
		Percentage: &percentage, Remaining: &left, Metrics: []trainerMetric{{"loss", "0.25"}}, Updated: "2026-11-30T00:00:00Z",
	}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../deploy/trainer-status.json")
	if got := string(body) + "\n"; err != nil || got != string(want) {
		t.Errorf("it is\n%s\nwant (%v)\n%s", got, err, want)
	}
}
