package serve

import (
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/kernels"
)

// health answers while the process serves.
func (s *Server) health(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, fiber.Map{"status": "ok"})
}

// ping is health as SageMaker asks for it.
func (s *Server) ping(c *fiber.Ctx) error { return writeJSON(c, fiber.StatusOK, fiber.Map{}) }

// load is how many requests run and wait, as vLLM tells it.
func (s *Server) load(c *fiber.Ctx) error {
	now := s.engine.Snapshot()
	return writeJSON(c, fiber.StatusOK, fiber.Map{"server_load": now.Running + now.Waiting})
}

// ready answers whether new requests are to be sent here.
func (s *Server) ready(c *fiber.Ctx) error {
	if s.requests.isLeaving() {
		return draining()
	}
	return writeJSON(c, fiber.StatusOK, fiber.Map{"status": "ready"})
}

// version names the server's version, what it serves and which kernels compute:
// two servers with the same kernels, which take activations and hold adapters, and
// keys and values, in the same precision, answer with the same bits.
func (s *Server) version(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, struct {
		Version      string `json:"version"`
		Base         string `json:"base"`
		Architecture string `json:"architecture"`
		Precision    string `json:"precision"`
		Activations  string `json:"activations"`
		Adapters     string `json:"adapter_precision"`
		KeysValues   string `json:"kv_type"`
		Kernels      string `json:"kernels"`
	}{s.config.Version, s.config.Name, s.base.Architecture.Class, s.base.Precision, s.base.Activations.String(), s.config.Precision.String(), s.kvType(), kernels.Name()})
}

// kvType is what keys and values are held in.
func (s *Server) kvType() string { return strings.ToLower(s.engine.Options().CacheFormat.String()) }

// information is TGI's description of what is served.
func (s *Server) information(c *fiber.Ctx) error {
	o := s.engine.Options()
	return writeJSON(c, fiber.StatusOK, struct {
		ModelID      string `json:"model_id"`
		Type         string `json:"model_type"`
		DType        string `json:"model_dtype"`
		Device       string `json:"model_device_type"`
		MaxRequests  int    `json:"max_concurrent_requests"`
		MaxInput     int    `json:"max_input_tokens"`
		MaxTotal     int    `json:"max_total_tokens"`
		MaxBatch     int    `json:"max_batch_size"`
		MaxBatchStep int    `json:"max_batch_prefill_tokens"`
		BestOf       int    `json:"max_best_of"`
		Router       string `json:"router"`
		Version      string `json:"version"`
	}{
		s.config.Name, s.base.Architecture.Class, s.base.Precision, "cpu", o.Slots + o.Queue, s.context - 1, s.context,
		o.Slots, o.StepTokens, 1, "peft-serve", s.config.Version,
	})
}
