# Everything a developer or CI does here. `make help` lists it; the longer recipes
# are scripts in hack/, each with its reason on top.

# Relative, since make splits a path at its spaces.
BIN      := bin
GO       ?= go
FUZZTIME ?= 1m
# Of the chart, so that the default manifest finds the image.
VERSION  ?= $(shell sed -n 's/^appVersion: "\(.*\)"/\1/p' deploy/chart/detour/Chart.yaml)

export PATH := $(CURDIR)/$(BIN):$(PATH)

# Static and small: the plugin runs on every node, whatever libc that has.
GOBUILD    = CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $(BIN)/
TOOLSBUILD = CGO_ENABLED=0 $(GO) -C tools build -ldflags "-s -w" -o ../$(BIN)/
CNIPLUGINS = github.com/containernetworking/plugins/plugins
TESTTOOLS  = github.com/containernetworking/cni/cnitool \
	$(CNIPLUGINS)/main/bridge $(CNIPLUGINS)/main/ptp $(CNIPLUGINS)/main/loopback \
	$(CNIPLUGINS)/ipam/host-local gotest.tools/gotestsum

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9A-Z\/-]*:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Build

.PHONY: build
build: ## Build every program under cmd/ into bin/, static and stripped
	@$(if $(wildcard cmd/*),$(GOBUILD) $(addprefix ./,$(wildcard cmd/*)))
	@$(if $(wildcard cmd/*),ls -l $(addprefix $(BIN)/,$(notdir $(wildcard cmd/*))) | awk '{print $$NF " " int($$5/1e5)/10 " MB"}')

.PHONY: kubectl-detour
kubectl-detour: ## kubectl detour, for a workstation: bin/kubectl-detour (a module of its own; two minutes the first time)
	@CGO_ENABLED=0 $(GO) -C kubectl-detour build -trimpath -ldflags "-s -w -X main.buildVersion=$(VERSION)" -o $(CURDIR)/$(BIN)/ .
	@cp kubectl-detour/kubectl_complete-detour $(BIN)/

.PHONY: image
image: ## The container image for amd64 and arm64, without a daemon: bin/detour-image.tar
	@for arch in amd64 arm64; do CGO_ENABLED=0 GOARCH=$$arch $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -X main.buildVersion=$(VERSION)" -o $(BIN)/image/$$arch/ ./cmd/detour ./cmd/detour-cni ./cmd/detour-validate || exit 1; done
	@$(GO) -C deploy/image run . -version $(VERSION) -tag detour-cni/detour:$(VERSION) -o $(CURDIR)/$(BIN)/detour-image.tar amd64=$(CURDIR)/$(BIN)/image/amd64 arm64=$(CURDIR)/$(BIN)/image/arm64
	@ls -l $(BIN)/detour-image.tar | awk '{print $$NF " " int($$5/1e5)/10 " MB"}'

.PHONY: manifests
manifests: ## What is made from the chart: deploy/manifests, deploy/kustomize
	@$(GO) -C deploy/generate run . ..

.PHONY: clean
clean: ## Remove bin/
	rm -rf $(BIN)

##@ What tests, demo and benchmark need

.PHONY: deps
deps: $(BIN)/.testtools ## Install Debian packages (as root) and the test tools into bin/, where missing
	@hack/apt.sh

$(BIN)/.testtools: tools/go.mod
	@echo "go build $(notdir $(TESTTOOLS))"
	@$(TOOLSBUILD) $(TESTTOOLS)
	@touch $@

# The linter is the one tool that costs minutes, so `make demo` must not wait for it.
$(BIN)/golangci-lint: tools/go.mod
	@echo "go build golangci-lint (about two and a half minutes the first time)"
	@$(TOOLSBUILD) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(BIN)/govulncheck: tools/go.mod
	@$(TOOLSBUILD) golang.org/x/vuln/cmd/govulncheck

bin/sing-box: tools/sing-box/go.mod tools/sing-box/main.go ## Build sing-box, a real proxy for the tests (a minute the first time)
	@echo "go build sing-box (about a minute the first time)"
	@CGO_ENABLED=0 $(GO) -C tools/sing-box build -ldflags "-s -w" -o ../../bin/ .

##@ Test

.PHONY: test
test: ## What CI runs, stage by stage, installing what it needs (CI adds test-deploy)
	@hack/test.sh

.PHONY: check
check: fmt test ## Format, lint, test: before a commit

.PHONY: test-unit
test-unit: $(BIN)/.testtools ## Tests that need neither root nor kernel
	@hack/gotest.sh unit ./...

.PHONY: test-race
test-race: $(BIN)/.testtools ## The same under the race detector
	@hack/gotest.sh race -race ./...

.PHONY: test-netns
test-netns: deps bin/sing-box ## Kernel tests, in namespaces of their own (root)
	@hack/gotest.sh --kernel netns $$($(GO) list ./... | grep -v /cmd/detour-cni$$)

.PHONY: test-script
test-script: deps build ## The built plugin through cnitool, as a runtime calls it (root)
	@hack/gotest.sh --kernel script ./cmd/detour-cni/...

.PHONY: test-mutation
test-mutation: deps ## Remove each rule in turn: some packet must notice (root)
	@DETOUR_MUTATION=1 hack/gotest.sh --kernel mutation -run Mutation ./redirect/...

.PHONY: test-deploy
test-deploy: $(BIN)/.testtools ## The chart in many combinations, what is made from it, and the image: current, and the same each time
	@cd deploy/generate && ../../hack/gotest.sh deploy -count=1 ./...
	@cd deploy/image && ../../hack/gotest.sh image -count=1 ./...

.PHONY: test-kubectl
test-kubectl: $(BIN)/.testtools ## kubectl detour's own tests: arguments, what is created, the krew manifest
	@cd kubectl-detour && ../hack/gotest.sh kubectl -count=1 ./...

.PHONY: e2e
e2e: deps ## A real Kubernetes node, with both flavours of containerd (root; 11 minutes to build the first time)
	@e2e/run.sh

.PHONY: fuzz fuzz-short
fuzz: ## Run every fuzz target for FUZZTIME (1m)
	@hack/fuzz.sh $(FUZZTIME)
fuzz-short: ## Run every fuzz target for three seconds
	@hack/fuzz.sh 3s

##@ Look

# Both make namespaces of their own.
.PHONY: bench demo
bench: deps build ## Measure a whole ADD against its peers: docs/benchmarks.md (root; BENCHFLAGS=...)
	@$(GO) build -o $(BIN)/ ./bench
	@$(BIN)/bench $(BENCHFLAGS)
	@$(GO) list -deps -test ./inspect >/dev/null # modules, while there still is a network
	@DETOUR_NETNS_TESTS=1 hack/isolate.sh $(GO) test -run '^$$' -bench All ./inspect
	@$(MAKE) --no-print-directory bench-sandbox
.PHONY: bench-sandbox
bench-sandbox: deps ## What a pod's start costs on a real node: docs/sandbox-start.md (root; builds the parts of e2e)
	@DETOUR_E2E_BENCH=1 DETOUR_E2E_FLAVOURS=containerd-2 e2e/run.sh -v -run TestSandboxStart -pairs 100 >$(BIN)/sandbox.log 2>&1 || { tail -n 40 $(BIN)/sandbox.log; exit 1; }
	@sed -n '/^# What a pod/,/^| with detour/p' $(BIN)/sandbox.log | tee docs/sandbox-start.md
demo: deps build ## See it work: an app, a proxy, a pod, step by step (root)
	@$(GO) build -o $(BIN)/ ./demo
	@$(BIN)/demo

.PHONY: test-picture
test-picture: deps ## inspect's picture in a real browser: keyboard, console, contrast, print (root; installs chromium)
	@hack/apt.sh chromium
	@mkdir -p $(BIN)/pictures
	@DETOUR_PICTURES=$(CURDIR)/$(BIN)/pictures hack/gotest.sh --kernel picture -run TestThePicture ./inspect
	@cd tools && tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && TMPDIR=$$tmp DETOUR_PICTURES=$(CURDIR)/$(BIN)/pictures ../hack/gotest.sh browser -count=1 -tags picture -run TestPictureInABrowser .

##@ Style

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## Format the code
	@golangci-lint fmt ./...

.PHONY: lint
lint: $(BIN)/golangci-lint lint-selftest ## What .golangci.yml says, DESIGN's import table included
	@golangci-lint run ./...

.PHONY: lint-selftest
lint-selftest: $(BIN)/golangci-lint ## Prove that a forbidden import fails the lint
	@$(GO) -C tools test ./...

.PHONY: vuln
vuln: $(BIN)/govulncheck ## Known vulnerabilities; needs the database of vuln.go.dev, so CI does not run it
	@govulncheck $(if $(VULNDB),-db $(VULNDB)) ./... || { status=$$?; [ $$status = 3 ] || echo "make vuln: checked nothing; it needs an answer from https://vuln.go.dev (or a mirror: make vuln VULNDB=file:///path)" >&2; exit $$status; }
