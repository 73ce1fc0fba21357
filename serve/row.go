package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// A Row is one request of a batch file, in OpenAI's format.
type Row struct {
	Line int    // of the file, from 1
	ID   string // its custom_id; empty: none that can be read

	url  string
	body json.RawMessage
	code string // why it cannot be asked; empty: it can
	why  string
}

// A RowAnswer is the line that answers a row.
type RowAnswer struct {
	Line []byte // JSON, without a newline
	// Failed: the row is answered with an error, or with a status of one.
	Failed bool
	// Again is when the row may be asked again that was refused for want of room,
	// and not for what it asks; 0: it has its answer.
	Again time.Duration
}

// rowRoutes are what a row may ask for: the routes that generate, as whole
// answers, and that of embeddings.
var rowRoutes = []string{chatRoute, "/v1/completions", "/v1/generate", responsesRoute, embeddingsRoute}

// rowBody is a row as it is written.
type rowBody struct {
	ID     *string         `json:"custom_id"`
	Method *string         `json:"method"`
	URL    *string         `json:"url"`
	Body   json.RawMessage `json:"body"`
}

// The codes of rows that are no requests.
const (
	invalidRow   = "invalid_row"
	duplicateRow = "duplicate_custom_id"
)

// ReadRow reads a line of a batch file strictly. Of a line that cannot be read
// it returns a row that answers why.
func ReadRow(line int, text []byte) Row {
	var body rowBody
	r := Row{Line: line}
	err := decode(text, &body)
	if body.ID == nil { // reading has ended before it, and it is answered by its name all the same
		var named struct {
			ID string `json:"custom_id"`
		}
		if json.Unmarshal(text, &named) == nil {
			body.ID = &named.ID
		}
	}
	if r.ID = or(body.ID, ""); err != nil {
		return r.Refused(invalidRow, strings.Replace(err.Error(), "the request body", "the row", 1))
	}
	url := or(body.URL, "")
	path, _, _ := strings.Cut(url, "?")
	switch {
	case r.ID == "":
		return r.Refused(invalidRow, "custom_id is missing: give the row a name that no other has")
	case body.Method == nil || *body.Method != http.MethodPost:
		return r.Refused(invalidRow, fmt.Sprintf("method is %q: rows are sent by POST", or(body.Method, "")))
	case !slices.Contains(rowRoutes, path):
		return r.Refused(invalidRow, fmt.Sprintf("url is %q: a row asks one of %s", url, strings.Join(rowRoutes, ", ")))
	case body.Body == nil || string(body.Body) == "null":
		return r.Refused(invalidRow, "body is missing: give the request")
	}
	r.url, r.body = url, body.Body
	return r
}

// Refused is the row with a reason not to ask it.
func (r Row) Refused(code, why string) Row {
	r.code, r.why = code, why
	return r
}

// TooLong is a row of which only the length has been looked at.
func TooLong(line int, most int64) Row {
	return Row{Line: line}.Refused(invalidRow, fmt.Sprintf("the row is larger than the %d bytes that are read of one: send less, or raise --body-limit", most))
}

// Repeated is a row whose custom_id an earlier one has.
func (r Row) Repeated(of int) Row {
	return r.Refused(duplicateRow, fmt.Sprintf("custom_id %q is that of line %d too: give each row its own", r.ID, of))
}

// rowLine is a line of the answers.
type rowLine struct {
	ID       string       `json:"id"`
	CustomID *string      `json:"custom_id"`
	Response *rowResponse `json:"response"`
	Error    *rowError    `json:"error"`
}

type rowResponse struct {
	Status  int             `json:"status_code"`
	Request string          `json:"request_id"`
	Digest  string          `json:"adapter_digest,omitempty"` // of the version that answered
	Ignored string          `json:"ignored_fields,omitempty"` // as X-Ignored-Fields names them
	Body    json.RawMessage `json:"body"`
}

type rowError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Line    int    `json:"line"`
}

// Row answers a row by the handler of its route, as if it had been sent: what a
// row may ask, and every bit of its answer, is the server's.
func (s *Server) Row(r Row) (RowAnswer, error) {
	id := "batch_req_" + newID()
	line := rowLine{ID: id}
	if r.ID != "" {
		line.CustomID = &r.ID
	}
	var a RowAnswer
	if r.code != "" {
		line.Error = &rowError{r.code, fmt.Sprintf("line %d: %s", r.Line, r.why), r.Line}
		a.Failed = true
	} else {
		answered := s.ask(id, r.ID, r.url, r.body)
		header := &answered.Header
		line.Response = &rowResponse{answered.StatusCode(), string(header.Peek("X-Request-Id")), string(header.Peek("X-Adapter-Digest")), string(header.Peek(ignoredHeader)), answered.Body()}
		a.Failed = line.Response.Status >= http.StatusBadRequest
		if seconds, err := strconv.Atoi(string(header.Peek(fiber.HeaderRetryAfter))); err == nil {
			a.Again = time.Duration(seconds) * time.Second
		}
	}
	var err error
	a.Line, err = encode(line)
	return a, err
}

const insideKey = "inside"

// ask has the app answer a request that no connection has brought.
func (s *Server) ask(id, session, url string, body []byte) *fasthttp.Response {
	var c fasthttp.RequestCtx
	c.Init(&fasthttp.Request{}, nil, quiet{s.config.Log})
	c.Request.Header.SetMethod(fiber.MethodPost)
	c.Request.SetRequestURI(url)
	c.Request.Header.Set("X-Request-Id", id)
	c.Request.Header.Set("X-Session-Id", session) // so that a canary answers a row that is asked again as before
	c.Request.Header.SetContentType(fiber.MIMEApplicationJSON)
	c.Request.Header.SetContentLength(len(body))
	c.Request.SetBodyRaw(body)
	c.SetUserValue(insideKey, true)
	s.inside()(&c)
	return &c.Response
}

// wholeOnly refuses a stream where nobody can read one.
func wholeOnly(c *fiber.Ctx) error {
	if c.Locals(insideKey) == nil {
		return nil
	}
	return invalid("stream", "stream: a row of a batch is answered as a whole: leave it out")
}
