package serve

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// route is one method of one path. openapi.yaml describes each.
type route struct {
	method, path string
	dialect      dialect
	handler      fiber.Handler
	needs        keys.Right  // of the request's key; anyKey: it needs one, open: it needs none
	changes      bool        // changes adapters
	audit        string      // what the audit log calls it; of those that change adapters
	adapters     bool        // is about adapters
	task         models.Task // that the base has to do; empty: any
}

// classifyPath is the route of classification.
const classifyPath = "/v1/classify"

// inferPath is that of classification by tensors.
const inferPath = "/v2/models/:name/infer"

// chatRoute is the route of conversations.
const chatRoute = "/v1/chat/completions"

// embeddingsRoute is OpenAI's of embeddings.
const embeddingsRoute = "/v1/embeddings"

// poolingRoute is vLLM's of hidden states.
const poolingRoute = "/pooling"

func (s *Server) routes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{method: post, path: "/v1/generate", dialect: openAI, handler: s.generateRoute, needs: keys.Use, task: models.Generate},
		{method: post, path: "/v1/generate/stream", dialect: openAI, handler: s.generateStreamRoute, needs: keys.Use, task: models.Generate},

		{method: post, path: "/", dialect: tgi, handler: s.rootRoute, needs: keys.Use, task: models.Generate},
		{method: post, path: "/generate", dialect: tgi, handler: s.generateRoute, needs: keys.Use, task: models.Generate},
		{method: post, path: "/generate_stream", dialect: tgi, handler: s.generateStreamRoute, needs: keys.Use, task: models.Generate},
		{method: post, path: "/tokenize", dialect: tgi, handler: s.tokenize, needs: keys.Use},
		{method: post, path: "/detokenize", dialect: tgi, handler: s.detokenize, needs: keys.Use},
		{method: get, path: "/tokenizer_info", dialect: tgi, handler: s.tokenizerInfo},
		{method: get, path: "/info", dialect: tgi, handler: s.information},

		{method: post, path: "/v1/completions", dialect: openAI, handler: s.completions, needs: keys.Use, task: models.Generate},
		{method: post, path: chatRoute, dialect: openAI, handler: s.chatCompletions, needs: keys.Use, task: models.Generate},
		{method: post, path: responsesRoute, dialect: openAI, handler: s.responses, needs: keys.Use, task: models.Generate},
		// Those of clients whose base URL ends before /v1.
		{method: post, path: "/completions", dialect: openAI, handler: s.completions, needs: keys.Use, task: models.Generate},
		{method: post, path: "/chat/completions", dialect: openAI, handler: s.chatCompletions, needs: keys.Use, task: models.Generate},
		{method: post, path: "/responses", dialect: openAI, handler: s.responses, needs: keys.Use, task: models.Generate},
		{method: post, path: "/embeddings", dialect: openAI, handler: s.embeddings, needs: keys.Use, task: models.Encode},
		{method: get, path: "/models", dialect: openAI, handler: s.listModels},
		{method: get, path: "/models/*", dialect: openAI, handler: s.getModel},

		{method: post, path: embeddingsRoute, dialect: openAI, handler: s.embeddings, needs: keys.Use, task: models.Encode},
		{method: post, path: poolingRoute, dialect: openAI, handler: s.pooling, needs: keys.Use, task: models.Encode},
		{method: post, path: "/v1/score", dialect: openAI, handler: s.score, needs: keys.Use, task: models.Encode},
		{method: post, path: "/score", dialect: openAI, handler: s.score, needs: keys.Use, task: models.Encode},
		{method: post, path: "/v1/rerank", dialect: openAI, handler: s.rerank, needs: keys.Use, task: models.Encode},
		{method: post, path: "/v2/rerank", dialect: openAI, handler: s.rerank, needs: keys.Use, task: models.Encode},
		{method: post, path: "/rerank", dialect: tei, handler: s.rerank, needs: keys.Use, task: models.Encode},
		{method: post, path: "/embed", dialect: tei, handler: s.embedRoute, needs: keys.Use, task: models.Encode},
		{method: post, path: "/embed_all", dialect: tei, handler: s.embedAll, needs: keys.Use, task: models.Encode},
		{method: post, path: "/similarity", dialect: tei, handler: s.similarity, needs: keys.Use, task: models.Encode},
		{method: post, path: classifyPath, dialect: openAI, handler: s.classifyRoute, needs: keys.Use, task: models.Classify},
		{method: post, path: "/classify", dialect: openAI, handler: s.classifyShort, needs: keys.Use, task: models.Classify},
		{method: post, path: "/predict", dialect: tei, handler: s.predict, needs: keys.Use, task: models.Classify},
		{method: get, path: "/v1/models", dialect: openAI, handler: s.listModels},
		{method: get, path: "/v1/models/*", dialect: openAI, handler: s.getModel},

		{method: get, path: "/v2", dialect: openInference, handler: s.inferenceServer},
		{method: get, path: "/v2/models/:name", dialect: openInference, handler: s.inferenceModel},
		{method: get, path: "/v2/models/:name/ready", dialect: openInference, handler: s.inferenceModelReady},
		{method: get, path: "/v2/models/:name/versions/:version", dialect: openInference, handler: s.inferenceModel},
		{method: get, path: "/v2/models/:name/versions/:version/ready", dialect: openInference, handler: s.inferenceModelReady},
		{method: post, path: "/v2/models/:name/generate", dialect: openInference, handler: s.inferenceGenerate, needs: keys.Use, task: models.Generate},
		{method: post, path: "/v2/models/:name/generate_stream", dialect: openInference, handler: s.inferenceStream, needs: keys.Use, task: models.Generate},
		{method: post, path: inferPath, dialect: openInference, handler: s.inferenceInfer, needs: keys.Use, task: models.Classify},
		{method: get, path: "/v2/health/live", dialect: openInference, handler: s.live, needs: open},
		{method: get, path: "/v2/health/ready", dialect: openInference, handler: s.inferenceReady, needs: open},

		{method: post, path: "/v1/load_lora_adapter", dialect: vLLM, handler: s.loadLoRA, needs: keys.Admin, changes: true, audit: "load", adapters: true},
		{method: post, path: "/v1/unload_lora_adapter", dialect: vLLM, handler: s.unloadLoRA, needs: keys.Publish, changes: true, audit: "unload", adapters: true},

		{method: get, path: "/lora-adapters", dialect: openAI, handler: s.listLoRAs},

		{method: get, path: "/v1/adapters", dialect: openAI, handler: s.listAdapters},
		{method: get, path: "/v1/adapters/:name", dialect: openAI, handler: s.getAdapter, adapters: true},
		{method: http.MethodPut, path: "/v1/adapters/:name", dialect: openAI, handler: s.publishing(s.putAdapter), needs: keys.Publish, changes: true, audit: "publish", adapters: true},
		{method: http.MethodDelete, path: "/v1/adapters/:name", dialect: openAI, handler: s.deleteAdapter, needs: keys.Publish, changes: true, audit: "delete", adapters: true},
		{method: get, path: "/v1/adapters/:name/versions", dialect: openAI, handler: s.listVersions, adapters: true},
		{method: post, path: "/v1/adapters/:name/rollback", dialect: openAI, handler: s.rollbackAdapter, needs: keys.Publish, changes: true, audit: "rollback", adapters: true},
		{method: post, path: "/v1/adapters/:name/canary", dialect: openAI, handler: s.canaryAdapter, needs: keys.Publish, changes: true, audit: "canary", adapters: true},
		{method: post, path: "/v1/adapters/:name/pin", dialect: openAI, handler: s.pinAdapter, needs: keys.Admin, changes: true, audit: "pin", adapters: true},
		{method: post, path: "/v1/adapters/:name/unpin", dialect: openAI, handler: s.unpinAdapter, needs: keys.Admin, changes: true, audit: "unpin", adapters: true},

		{method: get, path: "/", dialect: tgi, handler: s.webpage, needs: open},
		{method: get, path: "/v1/caller", dialect: openAI, handler: s.describeCaller},
		{method: get, path: "/v1/stats", dialect: openAI, handler: s.exposeStats, needs: keys.Admin},

		{method: get, path: "/health", dialect: tgi, handler: s.health, needs: open},
		{method: get, path: "/ping", dialect: tgi, handler: s.ping, needs: open},
		{method: post, path: "/ping", dialect: tgi, handler: s.ping, needs: open},
		{method: get, path: "/load", dialect: tgi, handler: s.load},
		{method: get, path: "/ready", dialect: tgi, handler: s.ready, needs: open},
		{method: get, path: "/metrics", dialect: tgi, handler: s.metricsFor(s.exposeMetrics), needs: open},
		{method: get, path: "/version", dialect: tgi, handler: s.version},
		{method: get, path: "/openapi.json", dialect: tgi, handler: s.openAPI},
	}
}

// refuseTask answers for what the base does not do.
func refuseTask(err error) fiber.Handler {
	return func(*fiber.Ctx) error { return err }
}

func refuseChange(*fiber.Ctx) error {
	return &failure{status: http.StatusForbidden, kind: "permission_error", code: "read_only", message: "adapters cannot be changed: the server was started with --read-only"}
}

func refuseAdapters(*fiber.Ctx) error {
	return notFound("no_adapters", "", "the server has no adapters: start it with --adapters")
}
