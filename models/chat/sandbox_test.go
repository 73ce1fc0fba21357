package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	EnterSandbox()
	os.Exit(m.Run())
}

// newSandbox is one with a deadline for tests of templates without an end.
func newSandbox(t testing.TB, most time.Duration) *Sandbox {
	t.Helper()
	s := NewSandbox()
	s.time = most
	t.Cleanup(s.Close)
	return s
}

// Every way known to end a process, or never to end, costs its own rendering
// alone.
func TestSandboxOutlivesHostileTemplates(t *testing.T) {
	const memory, slow, either = "too much memory", "more time than", "it took"
	deadline := time.Second
	s := newSandbox(t, deadline)
	honest := s.Template(Source{Text: "{{ messages[0].content }}"})
	for name, c := range map[string]struct{ source, want string }{
		"a string times":        {`{{ "x" * 100000000000 }}`, memory},
		"indent":                {`{{ "x\ny" | indent(10000000000) }}`, memory},
		"doubled by ~":          {`{% set n = namespace(s="x") %}{% for i in range(100000) %}{% set n.s = n.s ~ n.s %}{% endfor %}`, memory},
		"doubled by +":          {`{% set n = namespace(s=[1]) %}{% for i in range(100000) %}{% set n.s = n.s + n.s %}{% endfor %}`, memory},
		"doubled by replace":    {`{% set n = namespace(s="x") %}{% for i in range(100000) %}{% set n.s = n.s | replace("x", "xx") %}{% endfor %}`, either},
		"doubled by join":       {`{% set n = namespace(s="x") %}{% for i in range(100000) %}{% set n.s = [n.s, n.s] | join %}{% endfor %}`, memory},
		"loops that print":      {`{% for i in range(100000) %}{% for j in range(100000) %}abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz{% endfor %}{% endfor %}`, memory},
		"loops that do not":     {`{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`, slow},
		"a list in itself":      {`{% set a = [] %}{% set _ = a.append(a) %}{{ a }}`, memory},
		"a dict in itself":      {`{% set a = {} %}{% set _ = a.update({"a": a}) %}{{ a | tojson }}`, memory},
		"a list in its JSON":    {`{% set a = [] %}{% set _ = a.append(a) %}{{ a | tojson }}`, memory},
		"more than a prompt is": {`{{ "x" * 10000000 }}`, "wrote more than 2097152 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == memory && !memoryConfined && !strings.Contains(name, "itself") && !strings.Contains(name, "JSON") {
				t.Skip("memory is not bounded in this build")
			}
			start := time.Now()
			_, err := s.Template(Source{Text: c.source}).Render(t.Context(), nil, Options{})
			if !errors.Is(err, ErrLimits) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if took := time.Since(start); took > 10*deadline {
				t.Errorf("it took %s", took)
			}
			if got, err := honest.Render(t.Context(), []Message{{Content: "Hello"}}, Options{}); err != nil || got != "Hello" {
				t.Errorf("then an honest template renders %q, error %v", got, err)
			}
		})
	}
	for name, source := range map[string]Source{
		"large":    {Text: strings.Repeat("x", maxSource+1)},
		"tools":    {Text: "x", Tools: strings.Repeat("x", maxSource+1)},
		"brackets": {Text: "{{ " + strings.Repeat("(", 1000)},
		"broken":   {Text: "{% for %}"},
	} {
		template := s.Template(source)
		_, err := template.Render(t.Context(), nil, Options{})
		if checked := template.Check(t.Context()); err == nil || checked == nil || err.Error() != checked.Error() {
			t.Errorf("%s: rendered with the error %v, checked with %v", name, err, checked)
		}
	}
	// What compiles for too long: tags whose neighbours the engine looks for in all others.
	comments := Source{Text: strings.Repeat("{##}", maxSource/4)}
	s.time = 50 * time.Millisecond
	if err := s.Template(comments).Check(t.Context()); !errors.Is(err, ErrLimits) || !strings.Contains(err.Error(), "compiling it took more time than 50ms") {
		t.Errorf("slow to compile: error %v", err)
	}
}

// A confined template renders the text of one that is not.
func TestSandboxGoldens(t *testing.T) {
	s := newSandbox(t, maxTime)
	data, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var g goldenFile
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	for name, golden := range g.Templates {
		template, err := New(golden.Source)
		if err != nil {
			t.Fatal(err)
		}
		confined := s.Template(Source{Text: golden.Source})
		for i, chat := range g.Chats {
			o := Options{
				AddGenerationPrompt: chat.Generate, Tools: chat.Tools, Variables: chat.Variables,
				BOS: "<s>", EOS: "</s>", Now: g.Now,
			}
			want, wantErr := template.Render(chat.Messages, o)
			got, gotErr := confined.Render(t.Context(), chat.Messages, o)
			if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Errorf("%s, chat %d: %q, error %v, want %q, error %v", name, i, got, gotErr, want, wantErr)
			}
		}
	}
	// Bytes that are no UTF-8, the template for tools, the clock and complaints.
	source := Source{Text: "\xff{{ messages[0].content }}", Tools: "T{{ tools[0].a }}"}
	confined := s.Template(source)
	if got, err := confined.Render(t.Context(), []Message{{Content: "\xfe\u2028<"}}, Options{}); err != nil || got != "\xff\xfe\u2028<" {
		t.Errorf("bytes: %q, error %v", got, err)
	}
	if got, err := confined.Render(t.Context(), nil, Options{Tools: []json.RawMessage{[]byte(`{"a": 1}`)}}); err != nil || got != "T1" {
		t.Errorf("tools: %q, error %v", got, err)
	}
	now := s.Template(Source{Text: `{{ strftime_now("%Y %Z") }}`})
	if got, err := now.Render(t.Context(), nil, Options{}); err != nil || got != time.Now().Format("2006 MST") {
		t.Errorf("the clock tells %q, error %v", got, err)
	}
	var raised *RaisedError
	if _, err := s.Template(Source{Text: `{{ raise_exception("no") }}`}).Render(t.Context(), nil, Options{}); !errors.As(err, &raised) || raised.Message != "no" {
		t.Errorf("error %v, want the template's", err)
	}
	if _, err := s.Template(Source{Text: `{{ raise_exception("no" * 1000000) }}`}).Render(t.Context(), nil, Options{}); !errors.As(err, &raised) || len(raised.Message) > maxFault+len("…") {
		t.Errorf("a complaint of %d bytes", len(raised.Message))
	}
}

// More templates and conversations at a time than there are turns and
// processes: each gets its own text, and few processes are left.
func TestSandboxConcurrently(t *testing.T) {
	s := newSandbox(t, maxStart)
	var wg sync.WaitGroup
	for i := range 2*maxIdle + 1 {
		template := s.Template(Source{Text: fmt.Sprintf("%d {{ messages[0].content }}", i)})
		for j := range 3 {
			wg.Go(func() {
				want := fmt.Sprintf("%d %d", i, j)
				got, err := template.Render(t.Context(), []Message{{Content: fmt.Sprint(j)}}, Options{})
				if err != nil || got != want {
					t.Errorf("%q, error %v, want %q", got, err, want)
				}
			})
		}
	}
	wg.Wait()
	if len(s.idle) != maxIdle {
		t.Errorf("%d processes wait, want %d", len(s.idle), maxIdle)
	}
}

// One that waits is used again; one that died, for whatever reason, is replaced.
func TestSandboxReplacesTheDead(t *testing.T) {
	s := newSandbox(t, maxTime)
	template := s.Template(Source{Text: "Hello"})
	renders := func() (pid int) {
		t.Helper()
		if got, err := template.Render(t.Context(), nil, Options{}); err != nil || got != "Hello" {
			t.Fatalf("%q, error %v", got, err)
		}
		if len(s.idle) != 1 {
			t.Fatalf("%d processes wait", len(s.idle))
		}
		return s.idle[0].cmd.Process.Pid
	}
	first := renders()
	if again := renders(); again != first {
		t.Errorf("process %d renders, and then %d", first, again)
	}
	if err := s.idle[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if second := renders(); second == first {
		t.Errorf("a dead process renders")
	}
}

// The end of a request ends its rendering, which makes room for the next.
func TestSandboxStopsWithItsRequest(t *testing.T) {
	s := newSandbox(t, time.Minute)
	gone := errors.New("the client is gone")
	endless := s.Template(Source{Text: `{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`})
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(gone) })
	var wg sync.WaitGroup
	for range 3 { // one renders, the others wait
		wg.Go(func() {
			if _, err := endless.Render(ctx, nil, Options{}); !errors.Is(err, gone) {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	if got, err := s.Template(Source{Text: "Hello"}).Render(t.Context(), nil, Options{}); err != nil || got != "Hello" {
		t.Errorf("then %q, error %v", got, err)
	}
}

// Nothing is left of a sandbox that is closed, and it renders no more.
func TestSandboxCloses(t *testing.T) {
	s := NewSandbox()
	template := s.Template(Source{Text: "Hello"})
	if err := template.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := s.idle[0]
	s.Close()
	s.Close()
	if w.cmd.ProcessState == nil {
		t.Error("a process is left")
	}
	if _, err := template.Render(t.Context(), nil, Options{}); !errors.Is(err, ErrSandbox) {
		t.Errorf("error %v", err)
	}
}

// A worker ends with its server, even while it renders.
func TestWorkerEndsWithItsInput(t *testing.T) {
	w, err := newWorker(t.Context(), Source{Text: `{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`}, maxTime)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.jobs.Encode(job{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // it renders
	if err := w.in.Close(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(maxStart, func() { _ = w.cmd.Process.Kill() })
	defer stop.Stop()
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("it does not end by itself: %v", err)
	}
}

// A program that cannot be started again as a worker is told so, and starts
// nothing.
func TestSandboxIsEntered(t *testing.T) {
	entered = false
	defer func() { entered = true }()
	s := newSandbox(t, maxTime)
	if err := s.Template(Source{Text: "Hello"}).Check(t.Context()); !errors.Is(err, ErrSandbox) || !strings.Contains(err.Error(), "EnterSandbox") {
		t.Errorf("error %v", err)
	}
}

// BenchmarkRender is an ordinary conversation, in this process and confined.
func BenchmarkRender(b *testing.B) {
	source := Source{Text: "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}
	template, err := source.Compile()
	if err != nil {
		b.Fatal(err)
	}
	confined := newSandbox(b, maxTime).Template(source)
	for _, turns := range []int{2, 50} {
		messages := make([]Message, turns)
		for i := range messages {
			messages[i] = Message{Role: "user", Content: strings.Repeat("What is the capital of France? ", 10)}
		}
		o := Options{AddGenerationPrompt: true}
		b.Run(fmt.Sprintf("here/%d", turns), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := template.Render(messages, o); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("confined/%d", turns), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := confined.Render(b.Context(), messages, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			w, err := newWorker(b.Context(), source, maxTime)
			if err != nil {
				b.Fatal(err)
			}
			w.end()
		}
	})
}
