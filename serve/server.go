package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"go.opentelemetry.io/otel/trace"

	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Parts are what a Server puts together.
type Parts struct {
	Engine    Engine
	Catalogue Catalogue // nil: the base alone
	Base      *models.Config
	Tokenizer *tokenizer.Tokenizer
	Chat      *chat.Template  // nil: the base has none
	Recipe    *pooling.Recipe // of embeddings; nil: the default one of the base
	// RecipeFault is why the base's files cannot be followed; nil: they can.
	RecipeFault error
	Metrics     *Metrics        // the one that observes Engine and Catalogue
	Tracer      trace.Tracer    // nil: requests are not traced
	Memory      *memory.Account // of the process; nil: none is kept
}

// Server answers HTTP.
type Server struct {
	config      Config
	engine      Engine
	catalogue   Catalogue
	loras       loraLists
	base        *models.Config
	recipe      *pooling.Recipe
	recipeFault error // why texts are not embedded; nil: they are
	text        *tokenizer.Tokenizer
	metrics     *Metrics
	tracer      trace.Tracer

	context    int // the longest sequence, in tokens
	vocabulary int
	started    time.Time

	settings  atomic.Pointer[settings]
	reloading sync.Mutex
	hidePaths *strings.Replacer

	app           *fiber.App
	inside        func() fasthttp.RequestHandler // of the app, for requests that no connection has brought
	admin         *http.Server
	hosts         hosts         // set by Serve
	certificates  *certificates // nil: no TLS
	patience      time.Duration // with clients that do not read their streams
	watcher       watcher
	requests      *requests
	tenantUploads counts
	intake        *uploads
	unpacked      *pace
	decoded       *pace
	templates     *templates
	grammars      *grammars
	memory        *memory.Account // nil: none is kept

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
		base: parts.Base, text: parts.Tokenizer, metrics: parts.Metrics, tracer: parts.Tracer, memory: parts.Memory,
		context: parts.Engine.Options().Context, vocabulary: parts.Base.Vocabulary,
		started: time.Now(), requests: newRequests(), patience: unreadPatience, admin: newAdmin(),
	}
	if s.recipe, s.recipeFault = parts.Recipe, parts.RecipeFault; s.recipe == nil {
		s.recipe = pooling.Default(s.base.Causal)
	}
	var err error
	if config.TLSCert != "" {
		if s.certificates, err = loadCertificates(s.config); err != nil {
			return nil, err
		}
	}
	if s.templates, err = newTemplates(parts.Chat, parts.Tokenizer, parts.Memory); err != nil {
		return nil, err
	}
	generating := func() bool { return s.engine.Snapshot().Running > 0 }
	s.grammars = newGrammars(int64(s.config.Grammars), parts.Memory, newPace(pacedCompiling, generating))
	s.intake = newUploads(s.config, parts.Memory)
	s.unpacked, s.decoded = newPace(pacedUploads, generating), newPace(pacedBodies, generating)
	if config.Adapters != "" {
		if s.config.Adapters, err = filepath.Abs(config.Adapters); err != nil {
			return nil, err
		}
		if !config.ReadOnly {
			recoverStaging(s.config.Adapters, s.config.Log)
		}
	}
	s.settings.Store(newSettings(config.Keys, config.Limits))
	s.hidePaths = newHider(slices.Concat([]string{s.config.Adapters, s.config.Aliases, s.config.Source}, config.Downloads, config.AllowPaths)...)
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	if err := s.metrics.attach(s); err != nil {
		return nil, err
	}
	s.app = s.newApp()
	s.inside = sync.OnceValue(s.app.Handler)
	return s, nil
}

func (s *Server) newApp() *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage:        true,
		RequestMethods:               methods,
		Immutable:                    true, // strings outlive their request
		StreamRequestBody:            true, // bodies are limited where they are read
		BodyLimit:                    64 << 10,
		DisablePreParseMultipartForm: true,
		UnescapePath:                 false,
		ReadTimeout:                  s.config.ReadTimeout,
		WriteTimeout:                 s.config.WriteTimeout,
		IdleTimeout:                  s.config.IdleTimeout,
		ReadBufferSize:               16 << 10,
		ErrorHandler:                 s.refuse,
	})
	app.Server().Logger = quiet{s.config.Log}
	s.refuseUnknownMethods(app)
	checks := fiber.New(fiber.Config{RequestMethods: methods, ErrorHandler: func(*fiber.Ctx, error) error { return nil }})
	app.Use(identify, s.measure, s.recovered, s.fromHere)
	checks.Use(s.recovered, s.fromHere)
	for _, r := range s.routes() {
		handlers := s.checks(r)
		add := func(method string) {
			app.Add(method, r.path, slices.Concat(s.told(r), handlers, []fiber.Handler{r.handler})...)
			checks.Add(method, r.path, append(slices.Clip(handlers), pass)...)
		}
		add(r.method)
		if r.method == fiber.MethodGet {
			add(fiber.MethodHead) // what balancers ask
		}
	}
	guard(app, checks, s.config)
	return app
}

// Serve answers connections until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	s.hosts = hostsOf(s.config, l.Addr())
	own := s.listen(l)
	defer own.turned.Wait()
	defer context.AfterFunc(s.ctx, func() { _ = own.Close() })() // Shutdown may have come first
	return s.app.Listener(own)
}

// Deregister has /ready say no, and every answer end its connection, while requests
// are answered as before: balancers get the time to send them elsewhere.
func (s *Server) Deregister() { s.requests.leave() }

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
	return errors.Join(err, s.app.ShutdownWithTimeout(5*time.Second), s.watcher.close(), s.closeAdmin())
}
