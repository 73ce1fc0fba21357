package serve

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"
)

// A dialect is how a group of routes writes its errors.
type dialect struct {
	// errorBody is the JSON of a failure.
	errorBody func(f *failure) any
	// status is the status the dialect gives the failure.
	status func(f *failure) int
	// marks tells that a stream's end is marked by [DONE].
	marks bool
}

func (d dialect) endStream(out *eventStream) error {
	if !d.marks {
		return nil
	}
	return out.done()
}

var openAI = dialect{
	errorBody: func(f *failure) any {
		e := openAIError{Message: f.message, Type: f.kind}
		if f.param != "" {
			e.Param = &f.param
		}
		if f.code != "" {
			e.Code = f.code
		}
		return openAIErrorBody{e}
	},
	status: func(f *failure) int { return f.status },
	marks:  true,
}

type openAIErrorBody struct {
	Error openAIError `json:"error"`
}

type openAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    any     `json:"code"`
}

// vLLM writes OpenAI's object with its own type names and the status as code.
var vLLM = dialect{
	errorBody: func(f *failure) any {
		kind := f.kind
		switch {
		case f.status == http.StatusNotFound:
			kind = "NotFoundError"
		case f.status == http.StatusBadRequest:
			kind = "InvalidUserInput"
		case f.status == http.StatusUnprocessableEntity:
			kind = "UnprocessableEntityError"
		case f.status >= 500:
			kind = "InternalServerError"
		}
		e := openAIError{Message: f.message, Type: kind, Code: f.status}
		if f.param != "" {
			e.Param = &f.param
		}
		return openAIErrorBody{e}
	},
	status: func(f *failure) int { return f.status },
}

// tgi is the dialect of text-generation-inference and LoRAX: what is wrong
// with a request is a 422.
var tgi = dialect{
	errorBody: func(f *failure) any {
		kind := "validation"
		switch {
		case f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable:
			kind = "overloaded"
		case f.status == 499:
			kind = "incomplete_generation"
		case f.status >= 500:
			kind = "generation"
		}
		return tgiError{f.message, kind}
	},
	status: func(f *failure) int {
		switch f.status {
		case http.StatusBadRequest:
			return http.StatusUnprocessableEntity
		case http.StatusInternalServerError:
			return http.StatusFailedDependency
		}
		return f.status
	},
}

// tei is the dialect of text-embeddings-inference.
var tei = dialect{
	errorBody: func(f *failure) any {
		kind := "Validation"
		switch {
		case f.status == http.StatusTooManyRequests:
			kind = "Overloaded"
		case f.status == http.StatusServiceUnavailable:
			kind = "Unhealthy"
		case f.status >= 500 || f.status == 499:
			kind = "Backend"
		}
		return tgiError{f.message, kind}
	},
	status: func(f *failure) int {
		if f.status == http.StatusBadRequest && f.code == tooManyTokens {
			return http.StatusRequestEntityTooLarge
		}
		return tgi.status(f)
	},
}

type tgiError struct {
	Error string `json:"error"`
	Type  string `json:"error_type"`
}

const dialectKey = "dialect"

// speaks marks the requests of a route with their dialect.
func speaks(d dialect) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Locals(dialectKey, d)
		return c.Next()
	}
}

// dialectOf is the dialect to answer a request in.
func dialectOf(c *fiber.Ctx) dialect {
	if d, ok := c.Locals(dialectKey).(dialect); ok {
		return d
	}
	if path := c.Path(); len(path) >= 4 && path[:4] == "/v1/" {
		return openAI
	}
	return tgi
}

// refuse answers with an error.
func (s *Server) refuse(c *fiber.Ctx, err error) error {
	who, _ := c.Locals(callerKey).(*caller)
	f, d := s.failureFor(who, routeFault(c, err)), dialectOf(c)
	accountOf(c).refused(f)
	if f.retry > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(f.retry))
	}
	status := d.status(f)
	if isFiber(err, http.StatusBadRequest) {
		status = http.StatusBadRequest // no request of HTTP, whatever the dialect
	}
	s.logFault(c, status, err)
	return writeJSON(c, status, d.errorBody(f))
}

// logFault logs what is the server's own fault.
func (s *Server) logFault(c *fiber.Ctx, status int, err error, more ...any) {
	if status >= 500 && status != http.StatusServiceUnavailable {
		s.config.Log.Error("request failed", append([]any{"method", c.Method(), "route", routeOf(c), "request", requestID(c), "error", err}, more...)...)
	}
}

// routeFault says what fiber means by a path or method without a route.
func routeFault(c *fiber.Ctx, err error) error {
	switch {
	case errors.Is(err, fiber.ErrMethodNotAllowed):
		return &failure{
			status: http.StatusMethodNotAllowed, kind: invalidRequest, code: "no_method",
			message: fmt.Sprintf("%s does not take %s: use %s", c.Path(), c.Method(), c.GetRespHeader(fiber.HeaderAllow)),
		}
	case isFiber(err, http.StatusRequestTimeout):
		return tooSlow()
	case isFiber(err, http.StatusNotFound):
		return notFound("no_route", "", "there is no %s here: GET /openapi.json describes the routes", c.Path())
	}
	return err
}

func isFiber(err error, status int) bool {
	var f *fiber.Error
	return errors.As(err, &f) && f.Code == status
}
