package serve

import (
	"errors"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
)

// responsesRoute is OpenAI's route of answers that are made of items.
const responsesRoute = "/v1/responses"

// responses answers POST /v1/responses: a chat in other words, of which nothing is
// kept.
func (s *Server) responses(c *fiber.Ctx) error {
	var body responsesRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	arrived := time.Now()
	if err := body.check(s); err != nil {
		return err
	}
	messages, err := s.messages(c, &body)
	if err != nil {
		return err
	}
	asked := body.chat(messages)
	if err := asked.checkFields(s); err != nil {
		return err
	}
	run, err := s.converse(c, asked, arrived)
	if err != nil {
		return err
	}
	w := &responsesWriter{chatRun: run, answer: s.answerTo(&body, run)}
	if body.streams() {
		return s.stream(c, run.generation, dialect{errorBody: w.failed, status: openAI.status}, w)
	}
	defer run.end()
	return w.whole(c)
}

// responsesWriter makes the items of an answer, and writes the events of their making
// where they are streamed.
type responsesWriter struct {
	*chatRun
	answer response
	out    *eventStream // nil: the answer is whole
	events int          // that have been sent

	open     *responseItem   // that is written: a message or reasoning; nil: none
	said     strings.Builder // its text
	logs     []chatToken     // of tokens whose text is not said yet
	made     int             // tokens
	reasoned int             // of these, until the last of the reasoning
}

// whole answers when all is said.
func (w *responsesWriter) whole(c *fiber.Ctx) error {
	var timing timing
	for {
		e, err := w.next()
		if errors.Is(err, runtime.ErrEnd) {
			timing.headers(c, w.generation)
			return writeJSON(c, fiber.StatusOK, &w.answer)
		}
		if err != nil {
			return err
		}
		if err := w.take(e); err != nil {
			return err
		}
		timing.add(e)
	}
}

func (w *responsesWriter) write(out *eventStream, e choiceEvent) error {
	w.out = out
	if w.events == 0 {
		if err := errors.Join(w.send(responseEvent{Type: "response.created", Response: &w.answer}), w.send(responseEvent{Type: "response.in_progress", Response: &w.answer})); err != nil {
			return err
		}
	}
	return w.take(e)
}

func (w *responsesWriter) close(*eventStream) error {
	return w.send(responseEvent{Type: "response." + w.answer.Status, Response: &w.answer})
}

// take adds what an event brings.
func (w *responsesWriter) take(e choiceEvent) error {
	part := w.replies.take(0, e.Text, e.Finish != "")
	w.logs = append(w.logs, w.logprobs(e)...)
	if e.Token != runtime.NoToken {
		w.made++
	}
	if err := w.add("reasoning", part.reasoning); err != nil {
		return err
	}
	if part.reasoning != "" {
		w.reasoned = w.made
	}
	if err := w.add("message", part.content); err != nil {
		return err
	}
	for _, call := range part.calls {
		if err := w.call(call); err != nil {
			return err
		}
	}
	if e.Finish == "" {
		return nil
	}
	return w.finish(e)
}

// add adds text to the item of a type that is open, or opens it.
func (w *responsesWriter) add(kind, text string) error {
	if text == "" {
		return nil
	}
	if w.open == nil || w.open.Type != kind {
		if err := w.begin(kind); err != nil {
			return err
		}
	}
	w.said.WriteString(text)
	delta := w.event("delta")
	delta.Delta = &text
	if kind == "message" {
		delta.Logprobs = append([]chatToken{}, w.logs...)
		part := &w.open.Content[0]
		part.Logprobs = append(part.Logprobs, w.logs...)
	}
	w.logs = w.logs[len(w.logs):]
	return w.send(delta)
}

// begin opens an item of text.
func (w *responsesWriter) begin(kind string) error {
	if err := w.end(completed); err != nil {
		return err
	}
	w.open = newTextItem(kind)
	w.answer.Output = append(w.answer.Output, w.open)
	if err := w.send(responseEvent{Type: "response.output_item.added", OutputIndex: w.place(), Item: w.open}); err != nil {
		return err
	}
	w.open.Content = append(w.open.Content, newTextPart(kind))
	return w.part("response.content_part.added")
}

// end closes the item that is open.
func (w *responsesWriter) end(status string) error {
	if w.open == nil {
		return nil
	}
	w.open.Status, w.open.Content[0].Text = status, w.said.String()
	w.said.Reset()
	done := w.event("done")
	done.Text = &w.open.Content[0].Text
	done.Logprobs = w.open.Content[0].Logprobs
	err := errors.Join(w.send(done), w.part("response.content_part.done"),
		w.send(responseEvent{Type: "response.output_item.done", OutputIndex: w.place(), Item: w.open}))
	w.open = nil
	return err
}

// event is one of the text of the open item.
func (w *responsesWriter) event(what string) responseEvent {
	return responseEvent{Type: "response." + w.open.Content[0].Type + "." + what, ItemID: w.open.ID, OutputIndex: w.place(), ContentIndex: new(int)}
}

// part sends an event of the part of the open item.
func (w *responsesWriter) part(kind string) error {
	return w.send(responseEvent{Type: kind, ItemID: w.open.ID, OutputIndex: w.place(), ContentIndex: new(int), Part: &w.open.Content[0]})
}

// place is the number of the last item.
func (w *responsesWriter) place() *int {
	n := len(w.answer.Output) - 1
	return &n
}

// call adds a call of a tool, which comes as a whole.
func (w *responsesWriter) call(call chatCall) error {
	if err := w.end(completed); err != nil {
		return err
	}
	w.logs = w.logs[len(w.logs):]
	item := newCallItem(call)
	w.answer.Output = append(w.answer.Output, item)
	arguments := item.Arguments
	item.Status, item.Arguments = inProgress, new(string)
	if err := w.send(responseEvent{Type: "response.output_item.added", OutputIndex: w.place(), Item: item}); err != nil {
		return err
	}
	item.Status, item.Arguments = completed, arguments
	return errors.Join(
		w.send(responseEvent{Type: "response.function_call_arguments.delta", ItemID: item.ID, OutputIndex: w.place(), Delta: arguments}),
		w.send(responseEvent{Type: "response.function_call_arguments.done", ItemID: item.ID, OutputIndex: w.place(), Name: item.Name, Arguments: arguments}),
		w.send(responseEvent{Type: "response.output_item.done", OutputIndex: w.place(), Item: item}))
}

// finish ends the answer.
func (w *responsesWriter) finish(e choiceEvent) error {
	if len(w.answer.Output) == 0 { // an empty text
		if err := w.begin("message"); err != nil {
			return err
		}
	}
	w.answer.Status = completed
	if e.Finish == runtime.FinishLength {
		w.answer.Status, w.answer.Incomplete = incomplete, &incompleteDetails{"max_output_tokens"}
	} else {
		now := time.Now().Unix()
		w.answer.CompletedAt = &now
	}
	if e.Usage != nil {
		w.answer.Usage = usageOf(*e.Usage, w.reasoned)
	}
	return w.end(w.answer.Status)
}

// failed is the event of a fault on the way. OpenAI's clients take what has an error
// for one, and others go by its type.
func (w *responsesWriter) failed(f *failure) any {
	e := openAI.errorBody(f).(openAIErrorBody).Error
	event := responseFault{responseEvent{Type: "error", Sequence: w.events}, e.Message, e.Code, e.Param, e}
	w.events++
	return event
}

// send sends an event, if the answer is streamed.
func (w *responsesWriter) send(e responseEvent) error {
	if w.out == nil {
		return nil
	}
	e.Sequence = w.events
	w.events++
	return w.out.send(e)
}
