package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/training"
)

// The variables by which Kubeflow Trainer (2.2 and later, with its feature gate
// TrainJobStatus) says where a run tells how far it is: an address, and files of
// the authority that vouches for it and of a token, which change while they run.
const (
	trainerURL   = "KUBEFLOW_TRAINER_SERVER_URL"
	trainerCA    = "KUBEFLOW_TRAINER_SERVER_CA_CERT"
	trainerToken = "KUBEFLOW_TRAINER_SERVER_TOKEN"
)

// trainJob tells a TrainJob's controller how far a run is, and hands everything on
// to another observer. The run never waits for it before its end, and nothing that
// fails here ends it.
type trainJob struct {
	training.Observer
	url, ca, token string
	every          time.Duration // between two reports at least, as Trainer asks for

	mu          sync.Mutex
	status      trainerStatus
	changed     bool
	steps, from int
	began       time.Time
	failing     bool     // the last report was not taken
	notes       []string // that the observer is to have, whom one goroutine calls

	news chan struct{}
	end  chan struct{}
	told chan struct{} // closed when the last report has been sent
}

// trainerStatus is Trainer's, whose values of metrics are texts.
type trainerStatus struct {
	Percentage *int            `json:"progressPercentage,omitempty"`
	Remaining  *int            `json:"estimatedRemainingSeconds,omitempty"`
	Metrics    []trainerMetric `json:"metrics,omitempty"`
	Updated    string          `json:"lastUpdatedTime,omitempty"`
}

type trainerMetric struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const (
	trainerEvery   = 5 * time.Second
	trainerTimeout = 5 * time.Second
)

// inTrainJob has a TrainJob's controller told of what an observer is, where the
// environment says so. finish is to be called at the end, once.
func inTrainJob(getenv func(string) string, o training.Observer) (all training.Observer, finish func(complete bool)) {
	url := getenv(trainerURL)
	if url == "" {
		return o, func(bool) {}
	}
	if !strings.HasPrefix(url, "https://") {
		o.Note("%s is %q, not an https:// address: progress is not told", trainerURL, url)
		return o, func(bool) {}
	}
	for _, name := range []string{trainerCA, trainerToken} {
		if getenv(name) == "" {
			o.Note("%s is set and %s is not: progress is not told", trainerURL, name)
			return o, func(bool) {}
		}
	}
	j := newTrainJob(o, url, getenv(trainerCA), getenv(trainerToken), trainerEvery)
	return j, j.finish
}

func newTrainJob(o training.Observer, url, ca, token string, every time.Duration) *trainJob {
	j := &trainJob{
		Observer: o, url: url, ca: ca, token: token, every: every,
		news: make(chan struct{}, 1), end: make(chan struct{}), told: make(chan struct{}),
	}
	go j.run()
	return j
}

// Start implements training.Observer.
func (j *trainJob) Start(steps, from int) {
	j.Observer.Start(steps, from)
	j.update(func() {
		j.steps, j.from, j.began = steps, from, time.Now()
		j.reach(from)
	})
}

// Step implements training.Observer.
func (j *trainJob) Step(r training.StepReport) {
	j.Observer.Step(r)
	j.update(func() {
		j.reach(r.Step)
		j.measure("step", float64(r.Step))
		j.measure("epoch", r.Epoch)
		j.measure("loss", r.Loss)
		j.measure("grad_norm", r.Norm)
		j.measure("tokens_per_second", r.Speed)
		if len(r.Rates) > 0 {
			j.measure("learning_rate", slices.Max(slices.Collect(maps.Values(r.Rates))))
		}
	})
}

// Validated implements training.Observer.
func (j *trainJob) Validated(r training.StepReport) {
	j.Observer.Validated(r)
	j.update(func() {
		for _, name := range slices.Sorted(maps.Keys(r.Validation)) {
			j.measure("eval_"+name, r.Validation[name])
		}
	})
}

// reach says how much is done, and at the pace so far how long the rest takes; it
// holds j.mu, as measure does.
func (j *trainJob) reach(step int) {
	percentage := 100 * step / max(1, j.steps)
	j.status.Percentage = &percentage
	if done := step - j.from; done > 0 {
		left := time.Since(j.began) / time.Duration(done) * time.Duration(j.steps-step)
		seconds := int(min(left.Seconds(), math.MaxInt32))
		j.status.Remaining = &seconds
	}
}

// What Trainer takes of metrics.
const (
	mostMetrics = 256
	longMetric  = 64 // bytes of a name
)

func (j *trainJob) measure(name string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) || len(name) > longMetric {
		return
	}
	text := strconv.FormatFloat(value, 'g', 6, 64)
	at := slices.IndexFunc(j.status.Metrics, func(m trainerMetric) bool { return m.Name == name })
	switch {
	case at >= 0:
		j.status.Metrics[at].Value = text
	case len(j.status.Metrics) < mostMetrics:
		j.status.Metrics = append(j.status.Metrics, trainerMetric{name, text})
	}
}

// update changes the status, of which is told when it is time to.
func (j *trainJob) update(change func()) {
	j.mu.Lock()
	change()
	j.changed = true
	j.mu.Unlock()
	j.passNotes()
	select {
	case j.news <- struct{}{}:
	default:
	}
}

// finish tells the last of the run: whether it has come to its end.
func (j *trainJob) finish(complete bool) {
	if complete {
		j.update(func() {
			all, none := 100, 0
			j.status.Percentage, j.status.Remaining = &all, &none
		})
	}
	close(j.end)
	<-j.told
	j.passNotes()
}

func (j *trainJob) passNotes() {
	j.mu.Lock()
	notes := j.notes
	j.notes = nil
	j.mu.Unlock()
	for _, n := range notes {
		j.Observer.Note("%s", n)
	}
}

// run reports what is new, not too often, until the end, of which it reports at
// once.
func (j *trainJob) run() {
	defer close(j.told)
	for {
		select {
		case <-j.news:
			j.report()
		case <-j.end:
			j.report()
			return
		}
		select {
		case <-time.After(j.every):
		case <-j.end:
		}
	}
}

func (j *trainJob) report() {
	j.mu.Lock()
	status, changed := j.status, j.changed
	status.Metrics = slices.Clone(status.Metrics)
	j.changed = false
	j.mu.Unlock()
	if !changed {
		return
	}
	status.Updated = time.Now().UTC().Format(time.RFC3339)
	err := j.send(status)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil && !j.failing {
		j.notes = append(j.notes, "the TrainJob's status cannot be told, the run goes on: "+err.Error())
	}
	j.failing = err != nil
}

// send reads authority and token anew each time: both rotate.
func (j *trainJob) send(status trainerStatus) error {
	ca, err := os.ReadFile(j.ca)
	if err != nil {
		return fmt.Errorf("%s: %w", trainerCA, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s: %s holds no certificate", trainerCA, j.ca)
	}
	token, err := os.ReadFile(j.token)
	if err != nil {
		return fmt.Errorf("%s: %w", trainerToken, err)
	}
	body, err := json.Marshal(map[string]trainerStatus{"trainerStatus": status})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), trainerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, j.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", trainerURL, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	client := http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this address
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode/100 == 2 {
		return nil
	}
	var said struct {
		Message string `json:"message"`
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10)) // the status says enough
	_ = json.Unmarshal(text, &said)
	return fmt.Errorf("%s answers %s %s", j.url, answer.Status, said.Message)
}
