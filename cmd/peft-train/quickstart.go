package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// quickstartCommand trains a first adapter on the built-in base and puts it into a
// server.
type quickstartCommand struct {
	Server    string `help:"The peft-serve that is to have the adapter; its key is read from PEFT_SERVE_API_KEY." default:"http://localhost:8080" placeholder:"URL"`
	Name      string `help:"The adapter's name." default:"tickets"`
	Output    string `help:"Folder for the examples, and for the adapter in a folder of its name." default:"quickstart" placeholder:"DIR"`
	MaxSteps  int    `help:"Steps to take." default:"150"`
	Threads   int    `help:"Threads; 0: one for each core."`
	Resume    bool   `help:"Go on from where an earlier one was interrupted; of one that has trained, show and publish the adapter again."`
	Overwrite bool   `help:"Replace what an earlier one has left in --output."`
}

// Run trains, shows what came of it, and publishes.
func (q *quickstartCommand) Run(ctx context.Context, c console) (err error) {
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = errors.New("interrupted: the same command with --resume goes on")
		}
	}()
	wrong := []error{atLeast(1, map[string]int{"max-steps": q.MaxSteps}), atLeast(0, map[string]int{"threads": q.Threads})}
	if !training.IsName(q.Name) {
		wrong = append(wrong, fmt.Errorf("--name: %q is no name for an adapter: letters, digits, dots, dashes and underscores, the first not a dot", q.Name))
	}
	if u, err := url.Parse(q.Server); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		wrong = append(wrong, fmt.Errorf("--server: %q is not the URL of a server, such as http://127.0.0.1:8080", q.Server))
	}
	if q.Resume && q.Overwrite {
		wrong = append(wrong, errors.New("--overwrite: goes without --resume, which goes on with what is there"))
	}
	if err := faultsOf(wrong); err != nil {
		return err
	}
	if err := q.spare(); err != nil {
		return err
	}
	key := os.Getenv("PEFT_SERVE_API_KEY")
	away := q.find(ctx, key, c)
	if away != nil && !errors.Is(away, errNobody) {
		return away
	}
	learnt, held := filepath.Join(q.Output, q.Name+".jsonl"), filepath.Join(q.Output, q.Name+"-held-out.jsonl")
	if err := os.MkdirAll(q.Output, 0o755); err != nil {
		return err
	}
	for path, rows := range map[string][]ticket{learnt: tickets(4000, 1, false), held: tickets(100, 2, true)} {
		if err := writeTickets(path, rows, q.Overwrite); err != nil {
			return err
		}
	}
	c.note("An adapter is trained that names the department which a customer's message is for; its examples are in %s.", learnt)
	args := []string{
		"run", "--base", builtin.Base, "--data", learnt, "--output", q.adapter(), "--method", "lora", "--target-modules", "all-linear",
		"--lr", "5e-3", "--batch-size", "32", "--max-steps", fmt.Sprint(q.MaxSteps), "--samples", "0", "--no-keep-checkpoint", "--threads", fmt.Sprint(q.Threads),
	}
	for flag, on := range map[string]bool{"--overwrite": q.Overwrite, "--resume": q.Resume} {
		if on {
			args = append(args, flag)
		}
	}
	c.note("peft-train %s\n", strings.Join(args, " "))
	if code := run(ctx, args, console{out: c.err, err: c.err}); code != 0 {
		return errors.New("the run has not come to its end: no adapter is shown or published")
	}
	if err := q.compare(ctx, held, c); err != nil {
		return err
	}
	if away != nil {
		c.note("\n%s\nThe adapter is saved. This serves it, beside those that are built in:\n  peft-serve --adapters %s", away, q.Output)
		return nil
	}
	return q.publish(ctx, key, c)
}

// adapter is its folder.
func (q *quickstartCommand) adapter() string { return filepath.Join(q.Output, q.Name) }

// spare refuses to train anew where there is an adapter, in words that hold for the
// flags that there are here.
func (q *quickstartCommand) spare() error {
	if q.Overwrite {
		return nil
	}
	was, err := training.OutcomeOf(q.adapter())
	switch {
	case err != nil || was.Steps == 0:
		return err
	case was.Finished && !q.Resume:
		return fmt.Errorf("--output: %s holds a finished run, of %d steps: --resume shows and publishes its adapter, --overwrite trains another, and so does another --name or --output", q.adapter(), was.Steps)
	case q.Resume && !was.Finished && q.MaxSteps < was.Steps:
		return fmt.Errorf("--max-steps: %d, and the run in %s was to take %d: with --resume it may take more, not fewer", q.MaxSteps, q.adapter(), was.Steps)
	case was.Finished && q.MaxSteps != was.Steps:
		return fmt.Errorf("--max-steps: %s holds a finished run, of %d steps, and a quickstart's is not trained on: --max-steps %[2]d with --resume shows and publishes its adapter, --overwrite trains another", q.adapter(), was.Steps)
	}
	return nil
}

// errNobody tells that there is no server.
var errNobody = errors.New("no server answers")

// find looks for the server before an adapter is trained for it.
func (q *quickstartCommand) find(ctx context.Context, key string, c console) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var is struct{ Base string }
	err := q.ask(ctx, http.MethodGet, key, nil, &is, "version")
	if err == nil && is.Base != builtin.Name {
		c.note("%s serves %s. If that is another base than the one that is built in, it will refuse the adapter: peft-serve without --base serves it.", q.Server, is.Base)
	}
	return err
}

// compare shows what the base says, and what it says with the adapter.
func (q *quickstartCommand) compare(ctx context.Context, held string, c console) error {
	base, err := openBase(ctx, builtin.Base, training.BaseConfig{}, c)
	if err != nil {
		return err
	}
	defer func() { _ = base.Close() }()
	a := training.Assessment{Data: []string{held}, Format: "prompt", Columns: dataset.Columns{Prompt: "prompt", Completion: "completion"}, MaxLength: 512, ExactMatch: 8, Threads: q.Threads}
	before, plain, err := training.Assess(ctx, base, a)
	if err != nil {
		return err
	}
	if a.Adapter, err = openAdapter(q.adapter()); err != nil {
		return err
	}
	after, own, err := training.Assess(ctx, base, a)
	if err != nil {
		return err
	}
	const shown = 4
	t := &table{}
	t.row("a message that was not learnt", "before", "after")
	for i := range own[:min(shown, len(own))] {
		message, _, _ := strings.Cut(strings.TrimPrefix(own[i].Prompt, "Input: "), "\n")
		t.row(message, fmt.Sprintf("%.24q", plain[i].Got), fmt.Sprintf("%.24q", own[i].Got))
	}
	t.row(fmt.Sprintf("right of %d", len(own)), fmt.Sprintf("%.0f %%", 100*before["exact_match"]), fmt.Sprintf("%.0f %%", 100*after["exact_match"]))
	fmt.Fprintln(c.out)
	return t.write(c.out)
}

// publish puts the adapter into the server, and asks it there.
func (q *quickstartCommand) publish(ctx context.Context, key string, c console) error {
	folder := q.adapter()
	there, err := training.Served(ctx, q.Server, key, q.Name, folder) // then it is served already
	if err == nil && !there {
		err = training.Publish(ctx, q.Server, q.Name, folder, key)
	}
	if err != nil {
		return fmt.Errorf("%w\nThe adapter is saved in %s", err, folder)
	}
	body, err := json.Marshal(map[string]string{"inputs": tickets(1, 2, true)[0].Prompt})
	if err != nil {
		return err
	}
	var answer struct {
		Text string `json:"generated_text"`
	}
	if err := q.ask(ctx, http.MethodPost, key, body, &answer, "v1", "generate?adapter="+url.QueryEscape(q.Name)); err != nil {
		return err
	}
	header := ""
	if key != "" {
		header = ` -H "Authorization: Bearer $PEFT_SERVE_API_KEY"`
	}
	_, err = fmt.Fprintf(c.out, "\npublished as %s at %s, which did not stop for it:\n  curl -s%s '%s/v1/generate?adapter=%s' -d '%s'\n  %q\n",
		q.Name, q.Server, header, strings.TrimSuffix(q.Server, "/"), url.QueryEscape(q.Name), body, answer.Text)
	return err
}

// ask sends a request to the server and reads the JSON that it answers.
func (q *quickstartCommand) ask(ctx context.Context, method, key string, body []byte, answer any, elements ...string) error {
	address := strings.TrimSuffix(q.Server, "/") + "/" + strings.Join(elements, "/")
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := http.DefaultClient.Do(request)
	var nobody *net.OpError
	switch {
	case errors.As(err, &nobody) && nobody.Op == "dial":
		return fmt.Errorf("--server: %w at %s: %w", errNobody, q.Server, err)
	case err != nil:
		return fmt.Errorf("--server: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("--server: %s: %w", q.Server, err)
	}
	switch {
	case response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden:
		return fmt.Errorf("--server: %s answers %s: its key is read from PEFT_SERVE_API_KEY", q.Server, response.Status)
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("--server: %s answers %s: %.200s", address, response.Status, text)
	case json.Unmarshal(text, answer) != nil:
		return fmt.Errorf("--server: %s is no peft-serve: it answers %.80q", q.Server, text)
	}
	return nil
}

// writeTickets writes a file of rows. One that holds anything else is written over
// only where that is asked for.
func writeTickets(path string, rows []ticket, overwrite bool) error {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, r := range rows {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	there, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(there, b.Bytes()):
		return nil
	case err == nil && !overwrite:
		return fmt.Errorf("--output: %s is there and is no quickstart's: choose another --output or --name, or --overwrite it", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return disk.Write(path, b.Bytes())
}
