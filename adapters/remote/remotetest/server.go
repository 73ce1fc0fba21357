// Package remotetest has a server for tests of sources of adapters.
package remotetest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// Server is a registry or a store that notes what it is asked, and lets a test
// answer otherwise.
type Server struct {
	*httptest.Server
	Own     http.Handler
	Instead func(w http.ResponseWriter, r *http.Request) bool // true: it has answered; nil: it never has

	mu    sync.Mutex
	asked []*http.Request
}

// New starts a server that answers as own does, until the test ends.
func New(t testing.TB, own http.Handler) *Server {
	s := &Server{Own: own}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		if s.Instead == nil || !s.Instead(w, r) {
			own.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Asked are the requests so far.
func (s *Server) Asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Forget forgets them.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}
