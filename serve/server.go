package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Parts are what a Server puts together.
type Parts struct {
	Engine    Engine
	Catalogue Catalogue // nil: the base alone
	Base      *models.Config
	Tokenizer *tokenizer.Tokenizer
	Chat      *chat.Template // nil: the base has none
	Metrics   *Metrics       // the one that observes Engine and Catalogue
}

// Server answers HTTP.
type Server struct {
	config    Config
	engine    Engine
	catalogue Catalogue
	loras     loraLists
	base      *models.Config
	text      *tokenizer.Tokenizer
	metrics   *Metrics

	context    int // the longest sequence, in tokens
	vocabulary int
	started    time.Time

	settings  atomic.Pointer[settings]
	reloading sync.Mutex
	hidePaths *strings.Replacer

	app       *fiber.App
	watcher   watcher
	requests  *requests
	loading   atomic.Int64 // requests that wait for their adapter
	uploads   counts
	templates *templates

	ctx  context.Context // of every generation
	stop context.CancelCauseFunc
}

// New returns a server that does not listen yet.
func New(parts Parts, config Config) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		config: config.withDefaults(), engine: parts.Engine, catalogue: parts.Catalogue,
		base: parts.Base, text: parts.Tokenizer, metrics: parts.Metrics,
		context: parts.Engine.Options().Context, vocabulary: parts.Base.Vocabulary,
		started: time.Now(), requests: newRequests(),
	}
	var err error
	if s.templates, err = newTemplates(parts.Chat, parts.Tokenizer); err != nil {
		return nil, err
	}
	if config.Adapters != "" {
		if s.config.Adapters, err = filepath.Abs(config.Adapters); err != nil {
			return nil, err
		}
		if err := sweep(config.Adapters); err != nil {
			return nil, fmt.Errorf("what an earlier upload left in %s cannot be removed: %w", config.Adapters, err)
		}
	}
	s.settings.Store(newSettings(config.Keys, config.Limits))
	s.hidePaths = newHider(append([]string{s.config.Adapters, config.Source}, config.AllowPaths...)...)
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	if err := s.metrics.attach(s); err != nil {
		return nil, err
	}
	s.app = s.newApp()
	return s, nil
}

// Timeouts of a connection: for the head and body of a request, for an upload,
// and between two requests.
const (
	readTimeout   = 2 * time.Minute
	uploadTimeout = 30 * time.Minute
	idleTimeout   = 2 * time.Minute
)

func (s *Server) newApp() *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage:        true,
		Immutable:                    true, // strings outlive their request
		StreamRequestBody:            true, // bodies are limited where they are read
		BodyLimit:                    64 << 10,
		DisablePreParseMultipartForm: true,
		UnescapePath:                 false,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 s.config.WriteTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               16 << 10,
		ErrorHandler:                 s.refuse,
	})
	app.Server().HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
		if string(h.Method()) == fiber.MethodPut {
			return fasthttp.RequestConfig{ReadTimeout: uploadTimeout}
		}
		return fasthttp.RequestConfig{}
	}
	s.refuseUnknownMethods(app)
	app.Use(identify, s.measure, s.recovered)
	for _, r := range s.routes() {
		handlers := []fiber.Handler{speaks(r.dialect), s.needs(r.needs)}
		if r.changes && s.config.ReadOnly {
			handlers = append(handlers, refuseChange)
		}
		if r.adapters && s.catalogue == nil {
			handlers = append(handlers, refuseAdapters)
		}
		handlers = append(handlers, r.handler)
		app.Add(r.method, r.path, handlers...)
		if r.method == fiber.MethodGet {
			app.Add(fiber.MethodHead, r.path, handlers...) // what balancers ask
		}
	}
	return app
}

// Serve answers connections until Shutdown.
func (s *Server) Serve(l net.Listener) error { return s.app.Listener(l) }

// Shutdown refuses new requests, waits for those that run until ctx ends, gives
// up the rest and closes the listener. Until then health and metrics answer.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.requests.drain(ctx)
	if err != nil {
		s.stop(errDrainDeadline)
		late, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err = fmt.Errorf("requests were given up: %w", errors.Join(err, s.requests.drain(late)))
	}
	s.stop(errDrainDeadline)
	return errors.Join(err, s.app.ShutdownWithTimeout(5*time.Second), s.watcher.close())
}
