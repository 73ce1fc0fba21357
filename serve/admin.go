package serve

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"runtime"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/serve/keys"
)

// ServeAdmin answers operators on an address of their own, until the end of
// Shutdown: health, metrics, counters of the process and pprof. Where there are
// keys, metrics need one with the right metrics and the last two one with the
// right admin; elsewhere than on this machine alone it listens only with keys.
func (s *Server) ServeAdmin(l net.Listener) error {
	local := isLocal(l.Addr())
	if !local && s.settings.Load().keys == nil {
		return errAdminOpen
	}
	s.admin.Handler = s.adminHandler(local)
	if err := s.admin.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

var errAdminOpen = errors.New("the admin address can be reached from other machines, and there are no keys: listen on 127.0.0.1, or set keys")

// isLocal reports whether an address can be reached from this machine alone.
func isLocal(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (s *Server) adminHandler(local bool) http.Handler {
	mux := http.NewServeMux()
	status := func(path string, tell func() (int, any)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			code, body := tell()
			answerAdmin(w, code, body)
		})
	}
	keyed := func(path string, right keys.Right, handler http.Handler) {
		mux.Handle("GET "+path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			known := s.settings.Load().keys
			if known == nil {
				handler.ServeHTTP(w, r)
				return
			}
			switch key := known.Find(bearer(r.Header.Get("Authorization"))); {
			case key == nil:
				w.Header().Set("WWW-Authenticate", "Bearer")
				refuseAdmin(w, unauthorized())
			case !key.May(right):
				refuseAdmin(w, forbidden("the key %q lacks the right %s, which %s needs", key.Name, right, path))
			default:
				handler.ServeHTTP(w, r)
			}
		}))
	}
	status("/health", func() (int, any) { return http.StatusOK, fiber.Map{"status": "ok"} })
	status("/ready", func() (int, any) {
		if s.requests.isLeaving() {
			return http.StatusServiceUnavailable, openAI.errorBody(draining())
		}
		return http.StatusOK, fiber.Map{"status": "ready"}
	})
	keyed("/metrics", keys.Metrics, s.metricsHandler())
	keyed("/debug/vars", keys.Admin, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, _ := strconv.Atoi(r.FormValue("gc")); n > 0 { // as pprof has it
			runtime.GC()
		}
		answerAdmin(w, http.StatusOK, countProcess())
	}))
	// Without its cmdline: keys may stand there.
	keyed("/debug/pprof/", keys.Admin, http.HandlerFunc(pprof.Index))
	keyed("/debug/pprof/cmdline", keys.Admin, http.NotFoundHandler())
	keyed("/debug/pprof/profile", keys.Admin, http.HandlerFunc(pprof.Profile))
	keyed("/debug/pprof/symbol", keys.Admin, http.HandlerFunc(pprof.Symbol))
	keyed("/debug/pprof/trace", keys.Admin, http.HandlerFunc(pprof.Trace))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isForeign(r, local) {
			refuseAdmin(w, &failure{status: http.StatusForbidden, kind: "permission_error", code: "foreign_page", message: "the admin address answers no page of another site, and on a loopback address no other name than that"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// isForeign reports whether a page of another site has a browser ask, be it by a
// name of its own that leads to this machine.
func isForeign(r *http.Request, local bool) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return true
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return true
	}
	if !local {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}

func refuseAdmin(w http.ResponseWriter, f *failure) { answerAdmin(w, f.status, openAI.errorBody(f)) }

func answerAdmin(w http.ResponseWriter, status int, body any) {
	b, err := encode(body)
	if err != nil {
		panic(err) // our own types
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // who asked may have gone
}

// newAdmin is the server of the admin address. A profile takes as long as it was
// asked for.
func newAdmin() *http.Server {
	return &http.Server{ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
}

// closeAdmin ends it, and after a moment what still runs there.
func (s *Server) closeAdmin() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.admin.Shutdown(ctx) == nil {
		return nil
	}
	return s.admin.Close()
}
