package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// checkServer asks the server that is to take the adapter before there is one. That
// it does not answer yet is worth a note; that it wants another key, or serves
// what the run writes from where it writes it, is an error.
func (r *Run) checkServer(ctx context.Context) error {
	answer, err := ask(ctx, r.Config.Publish, r.PublishKey)
	switch {
	case errors.Is(err, errNoAnswer):
		r.observer.Note("--publish: the server does not answer yet: %v", err)
		return nil
	case err != nil:
		return fmt.Errorf("--publish: %w", err)
	case answer.keeps(r.Config.Publish, r.publishName(), r.Output):
		return fmt.Errorf("--publish: %s serves %s itself, as %s: what is trained there needs no --publish, and an upload would take the place of the run's own files; leave --publish out, or choose another --output or --publish-name", r.Config.Publish, r.Output, r.publishName())
	}
	return nil
}

// Served reports whether a server has an adapter's name in that folder itself, so
// that an upload would take the place of what was written there.
func Served(ctx context.Context, server, key, name, folder string) (bool, error) {
	answer, err := ask(ctx, server, key)
	return answer.keeps(server, name, folder), err
}

// keeps reports whether a server has an adapter's name in that folder. A path
// means the same to both only on one machine.
func (l *listing) keeps(server, name, folder string) bool {
	if l == nil || folder == "" || !local(server) {
		return false
	}
	own, err := os.Stat(folder)
	if err != nil {
		return false
	}
	places := []string{filepath.Join(l.Folder, name)}
	for _, a := range l.Adapters {
		if a.Name == name {
			places = append(places, strings.TrimPrefix(a.Source, "file://"))
		}
	}
	return slices.ContainsFunc(places, func(place string) bool {
		there, err := os.Stat(place)
		return filepath.IsAbs(place) && err == nil && os.SameFile(own, there)
	})
}

// local reports whether a server's address is one of this machine's.
func local(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addresses, err := net.LookupIP(u.Hostname())
	if err != nil {
		return false
	}
	mine, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addresses, func(a net.IP) bool {
		return a.IsLoopback() || slices.ContainsFunc(mine, func(m net.Addr) bool {
			n, ok := m.(*net.IPNet)
			return ok && n.IP.Equal(a)
		})
	})
}

// listing is what a server says of its adapters.
type listing struct {
	Adapters []struct {
		Name   string `json:"name"`
		Source string `json:"source"`
	} `json:"adapters"`
	Folder string `json:"folder"` // of uploads
}

var errNoAnswer = errors.New("no answer")

// ask lists a server's adapters; nil where it answers something else.
func ask(ctx context.Context, server, key string) (*listing, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	address, err := url.JoinPath(server, "v1", "adapters")
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%s answers %s: its key is read from PEFT_SERVE_API_KEY", server, answer.Status)
	}
	l := &listing{}
	if json.NewDecoder(io.LimitReader(answer.Body, 16<<20)).Decode(l) != nil {
		return nil, nil
	}
	return l, nil
}
