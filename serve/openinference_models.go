package serve

import (
	"net/http"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
)

// inferenceTensor describes an input or an output, as the protocol does: texts are
// one element of bytes.
type inferenceTensor struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"`
}

// inferenceModelView is the metadata of a model: the base, or an adapter, whose
// versions are digests.
type inferenceModelView struct {
	Name     string            `json:"name"`
	Versions []string          `json:"versions,omitempty"`
	Platform string            `json:"platform"`
	Inputs   []inferenceTensor `json:"inputs"`
	Outputs  []inferenceTensor `json:"outputs"`
}

// inferenceServer describes the server.
func (s *Server) inferenceServer(c *fiber.Ctx) error {
	return writeJSON(c, http.StatusOK, struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{"peft-serve", s.config.Version, s.extensions()})
}

// extensions are those of the protocol: it knows no generation by itself.
func (s *Server) extensions() []string {
	if s.base.Architecture.Does(models.Generate) {
		return []string{"generate"}
	}
	return []string{}
}

// inferenceModel describes a model, whether it is in memory or not.
func (s *Server) inferenceModel(c *fiber.Ctx) error {
	m, err := s.inferenceModelOf(c)
	if err != nil {
		return err
	}
	view := inferenceModelView{Name: m.name, Platform: "peft-serve"}
	view.Inputs, view.Outputs = s.tensorsOf(m)
	for _, e := range m.versions {
		if e.Digest != "" {
			view.Versions = append(view.Versions, e.Digest)
		}
	}
	return writeJSON(c, http.StatusOK, view)
}

// tensorsOf are what a model takes and answers with: a text and what follows it or,
// where the base generates none or a head is there, texts and their classes.
func (s *Server) tensorsOf(m inferenceSubject) (in, out []inferenceTensor) {
	classes := s.base.Classes
	for _, e := range m.versions {
		if e.Adapter != nil && e.Adapter.Classes() != nil {
			classes = e.Adapter.Classes()
		}
	}
	if s.base.Architecture.Does(models.Generate) && classes == nil {
		return []inferenceTensor{{"text_input", "BYTES", []int{1}}}, []inferenceTensor{{"text_output", "BYTES", []int{1}}}
	}
	in = []inferenceTensor{{inferText, "BYTES", []int{-1}}, {inferSecond, "BYTES", []int{-1}}}
	for _, t := range inferOutputs(classes, -1) {
		out = append(out, inferenceTensor{t.Name, t.Datatype, t.Shape})
	}
	return in, out
}

// inferenceModelReady answers whether a model answers requests. An adapter that is
// not in memory does: it is loaded for the first of them. One that has failed to load
// is tried again, as a request would have it tried, once the time for that has come.
// A model's canary is not asked about: it fails the sessions that are its own, and the
// live version answers all others.
func (s *Server) inferenceModelReady(c *fiber.Ctx) error {
	if s.requests.isDraining() {
		return draining()
	}
	m, err := s.inferenceModelOf(c)
	if err != nil {
		return err
	}
	for _, e := range m.versions {
		if e.State != catalogue.Failed || e.Percent > 0 && !m.version {
			continue
		}
		if err := s.tryAgain(c, e); err != nil {
			return &failure{status: http.StatusServiceUnavailable, kind: serverFault, code: "model_not_ready", message: "model " + m.name + " is not ready: " + err.Error()}
		}
	}
	return writeJSON(c, http.StatusOK, fiber.Map{"name": m.name, "ready": true})
}

// tryAgain is why a version that has failed still does.
func (s *Server) tryAgain(c *fiber.Ctx, e catalogue.Entry) error {
	ctx, done := s.attend(c)
	defer done()
	return s.visible(c).Try(ctx, e)
}

// inferenceSubject is the model that a path names, and those of its versions that
// answer requests; the base has none.
type inferenceSubject struct {
	name     string
	version  bool // the path names one of them
	versions []catalogue.Entry
}

func (s *Server) inferenceModelOf(c *fiber.Ctx) (m inferenceSubject, err error) {
	if m.name, err = url.PathUnescape(c.Params("name")); err != nil {
		return m, invalid("name", "the path names no model: %s", err)
	}
	version, err := url.PathUnescape(c.Params("version"))
	if err != nil {
		return m, invalid("version", "the path names no version: %s", err)
	}
	m.version = version != ""
	unknown := unknownAdapter("name", m.name)
	if m.name != s.config.Name {
		if s.catalogue == nil {
			return m, unknown
		}
		versions, _, err := s.visible(c).Versions(m.name)
		switch {
		case isUnknown(err):
			return m, unknown
		case err != nil:
			return m, loadFault(m.name, err)
		}
		for _, v := range versions {
			if v.Entry.Name != "" && (version == "" || v.Digest == s.contentOf(version)) {
				v.Entry.Digest = v.Digest
				m.versions = append(m.versions, v.Entry)
			}
		}
	}
	if version != "" && len(m.versions) == 0 {
		return m, notFound("version_not_found", "version", "no version %s of model %s answers requests", version, m.name)
	}
	return m, nil
}
