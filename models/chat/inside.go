package chat

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"syscall"
)

// sandboxArgument is the only argument of the processes that a Sandbox starts.
const sandboxArgument = "render-chat-templates"

// entered is set in programs that can be started again to render templates.
var entered bool

// EnterSandbox is the first call in the main of a program that makes a
// [Sandbox]: in the processes that one starts it does not return.
func EnterSandbox() {
	entered = true
	if len(os.Args) == 2 && os.Args[1] == sandboxArgument {
		os.Exit(work(os.Stdin, os.Stdout))
	}
}

// work is a worker's life. It ends with in, even while it renders, so that no
// worker outlives its server.
func work(in io.Reader, out io.Writer) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // a server that they stop still answers
	debug.SetMaxStack(maxStack)
	debug.SetMemoryLimit(maxMemory * 3 / 4) // collect garbage rather than end
	var ready outcome
	if err := confine(); err != nil {
		ready.Fault = err.Error()
	}
	outcomes := gob.NewEncoder(out)
	if err := outcomes.Encode(ready); err != nil {
		return 1
	}
	jobs := make(chan job)
	go func() {
		for d := gob.NewDecoder(in); ; {
			var j job
			if err := d.Decode(&j); err != nil {
				os.Exit(0)
			}
			jobs <- j
		}
	}()
	first := <-jobs
	template, err := first.Source.Compile()
	if err := outcomes.Encode(outcomeOf("", err)); err != nil {
		return 1
	}
	for j := range jobs {
		if err := outcomes.Encode(outcomeOf(render(template, j))); err != nil {
			return 1
		}
		release()
	}
	return 0
}

// render turns the engine's panics into errors, as an HTTP server does.
func render(t *Template, j job) (prompt string, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("chat: template: %v", fault)
		}
	}()
	return t.Render(j.Messages, j.Options)
}

func outcomeOf(prompt string, err error) outcome {
	var raised *RaisedError
	switch {
	case errors.As(err, &raised):
		return outcome{Fault: short(raised.Message), Kind: raisedFault}
	case err != nil:
		return outcome{Fault: short(err.Error())}
	case len(prompt) > maxPrompt:
		return outcome{Fault: fmt.Sprintf("it wrote more than %d bytes", maxPrompt), Kind: limitFault}
	}
	return outcome{Prompt: prompt}
}

// short cuts an error's text, which may quote anything.
func short(text string) string {
	if len(text) <= maxFault {
		return text
	}
	return strings.ToValidUTF8(text[:maxFault], "") + "…"
}

// release gives memory back that a rendering took.
func release() {
	sizes := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sizes)
	if sizes[0].Value.Uint64()-sizes[1].Value.Uint64() > keptHeap {
		debug.FreeOSMemory()
	}
}
