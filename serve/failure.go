package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/hub"
	"github.com/peft-serve/peft-serve/runtime"
)

// A failure is an answer that is an error: what each dialect writes in its own
// shape. Its message names the thing at fault and what to do about it.
type failure struct {
	status  int
	kind    string // OpenAI's error type, "invalid_request_error"
	code    string // OpenAI's error code; empty: none
	param   string // the field at fault; empty: none
	message string
	retry   int // seconds for Retry-After; 0: none
}

func (f *failure) Error() string { return f.message }

const (
	invalidRequest = "invalid_request_error"
	serverFault    = "server_error"
)

func invalid(param, format string, args ...any) *failure {
	return &failure{status: http.StatusBadRequest, kind: invalidRequest, param: param, message: fmt.Sprintf(format, args...)}
}

func notFound(code, param, format string, args ...any) *failure {
	return &failure{status: http.StatusNotFound, kind: invalidRequest, code: code, param: param, message: fmt.Sprintf(format, args...)}
}

func tooLarge(limit int64, flag string) *failure {
	return &failure{
		status: http.StatusRequestEntityTooLarge, kind: invalidRequest, code: "body_too_large",
		message: fmt.Sprintf("the request body is larger than the %d bytes this server takes: send less, or raise --%s", limit, flag),
	}
}

// tooSlow answers a request that does not come in the time it has.
func tooSlow() *failure {
	return &failure{
		status: http.StatusRequestTimeout, kind: invalidRequest, code: "too_slow",
		message: "the request did not come to its end in time: send it faster, or start the server with a longer --read-timeout (of adapters: --upload-timeout)",
	}
}

// draining answers while the server shuts down.
func draining() *failure {
	return &failure{
		status: http.StatusServiceUnavailable, kind: serverFault, code: "draining", retry: 1,
		message: "the server is shutting down and takes no new requests: send this to another replica",
	}
}

// failureOf makes an answer of whatever went wrong.
func failureOf(err error) *failure {
	var (
		f         *failure
		field     *fieldError
		withdrawn *catalogue.WithdrawnError
		limit     *runtime.LimitError
		fromFiber *fiber.Error
		quota     *catalogue.QuotaError
		pressed   *memory.PressedError
	)
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &field):
		return &failure{status: http.StatusBadRequest, kind: invalidRequest, param: field.Path, message: field.Error()}
	case errors.As(err, &fromFiber):
		return &failure{status: fromFiber.Code, kind: kindOf(fromFiber.Code), message: fromFiber.Message}
	case errors.As(err, &limit):
		return &failure{status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "tenant_limit", retry: 1,
			message: err.Error() + ": try again later"}
	case errors.Is(err, runtime.ErrQueueFull):
		return &failure{status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "queue_full", retry: 1,
			message: err.Error() + ": try again later, or start the server with a larger --queue"}
	case errors.Is(err, runtime.ErrClosed), errors.Is(err, catalogue.ErrClosed):
		return draining()
	case errors.Is(err, catalogue.ErrUnknown):
		return notFound("model_not_found", "model", "%s", err)
	case errors.Is(err, runtime.ErrPrompt), errors.Is(err, runtime.ErrSampling):
		return invalid("", "%s", err)
	case errors.Is(err, runtime.ErrGrammar):
		return invalid("", "%s: say otherwise what the answer is kept to", err)
	case errors.Is(err, models.ErrTask):
		return &failure{status: http.StatusBadRequest, kind: invalidRequest, code: "task_not_supported", message: err.Error()}
	case errors.Is(err, catalogue.ErrCombination):
		return invalid("adapter", "%s", err)
	case errors.Is(err, catalogue.ErrName):
		return invalid("name", "%s", err)
	case errors.Is(err, catalogue.ErrBuiltin):
		return &failure{status: http.StatusConflict, kind: invalidRequest, code: "built_in", param: "name",
			message: err.Error() + ": it cannot be removed; an upload of that name stands in its place"}
	case errors.Is(err, catalogue.ErrBudget):
		return &failure{status: http.StatusServiceUnavailable, kind: serverFault, code: "adapter_budget", retry: 5,
			message: err.Error() + ": try again later, or start the server with a larger --adapter-budget"}
	case errors.As(err, &quota) && quota.Need <= quota.Quota:
		return &failure{status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "adapter_quota", retry: 5,
			message: err.Error() + ": try again later, or unpin or remove one of them"}
	case errors.Is(err, catalogue.ErrQuota):
		return &failure{status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "adapter_too_large", message: err.Error()}
	case errors.Is(err, memory.ErrFull):
		return &failure{status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "memory_full", retry: 5,
			message: err.Error() + ": try again later, or start the server with a larger --memory-limit or smaller budgets"}
	case errors.As(err, &pressed):
		return &failure{status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "memory_pressed", retry: 5,
			message: err.Error() + ": try again later"}
	case errors.Is(err, catalogue.ErrSize):
		return &failure{status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "adapter_too_large",
			message: err.Error() + ": start the server with a larger --adapter-budget"}
	case errors.Is(err, hub.ErrNotFound), errors.Is(err, hub.ErrOffline):
		return notFound("adapter_not_found", "", "%s", err)
	case errors.Is(err, hub.ErrUnauthorized):
		return &failure{status: http.StatusForbidden, kind: "permission_error", code: "hub_refused", message: err.Error()}
	case errors.Is(err, hub.ErrUnreachable):
		return &failure{status: http.StatusServiceUnavailable, kind: serverFault, code: "hub_unreachable", retry: 5, message: err.Error()}
	case errors.Is(err, remote.ErrNotFound):
		return notFound("adapter_not_found", "", "%s", err)
	case errors.Is(err, remote.ErrUnauthorized):
		return &failure{status: http.StatusForbidden, kind: "permission_error", code: "source_refused", message: err.Error()}
	case errors.Is(err, remote.ErrUnreachable):
		return &failure{status: http.StatusServiceUnavailable, kind: serverFault, code: "source_unreachable", retry: 5, message: err.Error()}
	case isBrokenAdapter(err), errors.As(err, &withdrawn):
		return &failure{status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "adapter_refused", message: err.Error()}
	case errors.Is(err, errDrainDeadline):
		return &failure{status: http.StatusServiceUnavailable, kind: serverFault, code: "draining", retry: 1,
			message: err.Error() + ": send the request again, to another replica"}
	case errors.Is(err, errTimeout):
		return &failure{status: http.StatusGatewayTimeout, kind: serverFault, code: "timeout",
			message: err.Error() + ": ask for fewer tokens, try again later, or start the server with a longer --request-timeout"}
	case errors.Is(err, errClientGone), errors.Is(err, errWrite), errors.Is(err, errUnread), errors.Is(err, context.Canceled):
		return &failure{status: 499, kind: serverFault, code: "cancelled", message: err.Error()}
	}
	return &failure{status: http.StatusInternalServerError, kind: serverFault, message: err.Error()}
}

func kindOf(status int) string {
	if status >= 500 {
		return serverFault
	}
	return invalidRequest
}
