# GNU make and a POSIX shell are all this needs; every recipe runs under dash.
.DEFAULT_GOAL := help

GO       ?= go
DATA_DIR := $(or $(GATEHOUSE_DATA_DIR),.gatehouse)
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOLS    := bin/tools

# Race detection doubles the time of the tests on two cores and needs a C compiler, so it is asked for: make test RACE=1.
RACE   ?=
COUNT  ?=
RUN    ?=
TEST_FLAGS := $(if $(RACE),-race) $(if $(COUNT),-count=$(COUNT)) $(if $(RUN),-run='$(RUN)')
PKG    ?= ./...
DURATION ?= 380s
ACCOUNTS ?= 1000000
ONLY   ?=
RENEWALS ?= 10000
ROUNDS ?= 50
OUTAGE ?= 1m
SOAK   ?= 30m
FUZZTIME ?= 30s

# No flag that would keep builds and tests from sharing compiled packages (-trimpath is the Dockerfile's). Version control
# stamps would fail where git distrusts the folder's owner, so the version comes in by the linker.
BUILD_FLAGS := -buildvcs=false -ldflags "-X main.version=$(VERSION)"
BUILD_TOOL   = $(GO) build -buildvcs=false -modfile=tools/go.mod

##@ Run

.PHONY: run
run: build ## Start everything on this machine: Postgres, Temporal and its UI, migrations, API, worker, inbox
	@exec bin/gatehouse-dev run

.PHONY: api
api: build-gatehouse ## Start one more API beside `make run` (port 8081, ops 9092 unless you set them)
	@exec env GATEHOUSE_API_ADDR="$${GATEHOUSE_API_ADDR:-127.0.0.1:8081}" \
		GATEHOUSE_OPS_ADDR="$${GATEHOUSE_OPS_ADDR:-127.0.0.1:9092}" \
		scripts/with-env "$(DATA_DIR)/env" bin/gatehouse api

.PHONY: worker
worker: build-gatehouse ## Start one more worker beside `make run` (ops 9093 unless you set it; GATEHOUSE_WORKER=off make run leaves it all the work)
	@exec env GATEHOUSE_WORKER_OPS_ADDR="$${GATEHOUSE_WORKER_OPS_ADDR:-127.0.0.1:9093}" \
		scripts/with-env "$(DATA_DIR)/env" bin/gatehouse worker

.PHONY: demo
demo: build ## Play the journey against a running `make run`: sign up, code from the inbox, log in, /me
	@exec bin/gatehouse-dev demo

##@ Build

.PHONY: build
build: build-gatehouse build-dev ## Build bin/gatehouse and bin/gatehouse-dev (the first build takes several minutes)

.PHONY: build-gatehouse
build-gatehouse: ## Build bin/gatehouse alone: the binary that goes to production
	@GO="$(GO)" scripts/build . bin/gatehouse ./cmd/gatehouse $(BUILD_FLAGS)

.PHONY: build-dev
build-dev: ## Build bin/gatehouse-dev alone: the embedded stack of `make run`
	@GO="$(GO)" scripts/build devstack bin/gatehouse-dev . $(BUILD_FLAGS)

##@ Test

.PHONY: test
test: build-gatehouse $(TOOLS)/gotestsum $(TOOLS)/stripe-mock ## Run every test, installing PostgreSQL and a browser if they are missing (RACE=1, RUN=regexp, COUNT=n)
	@scripts/browser
	@GO="$(GO)" GOTESTSUM="$(CURDIR)/$(TOOLS)/gotestsum" scripts/test all $(TEST_FLAGS)

.PHONY: test-unit
test-unit: $(TOOLS)/gotestsum $(TOOLS)/stripe-mock ## Run the tests of the product: everything but the end-to-end tests (PKG=./store/...)
	@GO="$(GO)" GOTESTSUM="$(CURDIR)/$(TOOLS)/gotestsum" PKG="$(PKG)" scripts/test unit $(TEST_FLAGS)

.PHONY: test-e2e
test-e2e: build-gatehouse $(TOOLS)/gotestsum ## Run the end-to-end tests: real Postgres, real Temporal, real processes
	@scripts/browser
	@GO="$(GO)" GOTESTSUM="$(CURDIR)/$(TOOLS)/gotestsum" scripts/test e2e $(TEST_FLAGS)

.PHONY: attack
attack: build-gatehouse $(TOOLS)/gotestsum ## Try every attack, races 50 times with 100 callers; prints case by case, writes docs/security.md (ROUNDS=50)
	@GO="$(GO)" GOTESTSUM="$(CURDIR)/$(TOOLS)/gotestsum" scripts/test attack -rounds "$(ROUNDS)" -pairs 500 -fuzz-calls 400 $(TEST_FLAGS)

.PHONY: chaos
chaos: build-gatehouse $(TOOLS)/gotestsum ## Break what can break, with outages of a minute; prints case by case, writes docs/reliability.md (OUTAGE=1m)
	@GO="$(GO)" GOTESTSUM="$(CURDIR)/$(TOOLS)/gotestsum" scripts/test chaos -outage "$(OUTAGE)" $(TEST_FLAGS)

.PHONY: fuzz
fuzz: ## Fuzz every parser of outside input; what is found becomes a seed that `make test` plays (FUZZTIME=30s each)
	@mkdir -p bin && GO="$(GO)" scripts/fuzz "$(FUZZTIME)"

.PHONY: soak
soak: build-gatehouse ## Break something every minute under mixed load, all invariants checked after each; writes docs/reliability.md (SOAK=30m)
	@GO="$(GO)" scripts/test soak -run TestSoak -soak "$(SOAK)" -soak-document "$(CURDIR)/docs/reliability.md" \
		-soak-commit "$$(git describe --always --dirty 2>/dev/null)"

.PHONY: browser
browser: ## Have Chromium, Node.js and Playwright ready for the tests that look at the Temporal UI (`make test` does it, too)
	@GATEHOUSE_TEST_BROWSER=required scripts/browser

.PHONY: screenshots
screenshots: build-gatehouse browser ## Take anew the pictures of the Temporal UI in docs/images
	@GO="$(GO)" GATEHOUSE_TEST_BROWSER=required scripts/test screenshots -run TestUI_AnOperatorReadsAFlow -screenshots "$(CURDIR)/docs/images"

.PHONY: bench
bench: build ## Measure everything beside what this machine can do, about 14 minutes; writes docs/performance.md (ONLY=reads,login runs parts and writes nothing; DURATION=380s ACCOUNTS=1000000)
	@GO="$(GO)" scripts/build . $(TOOLS)/bench ./bench -buildvcs=false
	@exec $(TOOLS)/bench -duration "$(DURATION)" -accounts "$(ACCOUNTS)" -only "$(ONLY)" -commit "$$(git describe --always --dirty 2>/dev/null)"

.PHONY: bench-renewals
bench-renewals: build-gatehouse ## Have 10,000 subscriptions renew at one instant, writes docs/performance-renewals.md (RENEWALS=10000)
	@GO="$(GO)" scripts/test renewals -run TestRenewalsAtOneInstant -renewals "$(RENEWALS)" \
		-renewals-document "$(CURDIR)/docs/performance-renewals.md"

.PHONY: sizes
sizes: build-gatehouse ## Measure what rows and flows cost with 100,000 accounts, writes docs/scale-measured.md; takes minutes
	@GO="$(GO)" scripts/build . $(TOOLS)/bench ./bench -buildvcs=false
	@exec $(TOOLS)/bench sizes

##@ Check

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/workflowcheck ## Check style, imports and the determinism of workflows (builds its tools once: minutes)
	@rc=0; \
	echo "golangci-lint: the product"; $(TOOLS)/golangci-lint run ./... || rc=1; \
	echo "golangci-lint: devstack"; (cd devstack && ../$(TOOLS)/golangci-lint run ./...) || rc=1; \
	echo "workflowcheck"; $(TOOLS)/workflowcheck ./workflows/... || rc=1; \
	exit $$rc

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## Format all Go code and sort its imports
	@$(TOOLS)/golangci-lint fmt ./...
	@cd devstack && ../$(TOOLS)/golangci-lint fmt ./...

##@ Change

.PHONY: migrate-new
migrate-new: ## Lay the two files of a new migration (name=add_something)
	@scripts/migrate-new "$(name)"

.PHONY: record-histories
record-histories: ## Record anew, on a real Temporal server, the histories that the replay test of workflows/ replays
	@cd devstack && $(GO) run -buildvcs=false ./record -testdata ../workflows/testdata

.PHONY: env-example
env-example: ## Write .env.example anew after a change of the settings
	@$(GO) test -count=1 ./deploy -run TestEnvExample -update >/dev/null && echo "wrote .env.example"

.PHONY: clean-data
clean-data: ## Delete the state that `make run` keeps: databases, workflows, generated keys
	@scripts/clean-data "$(DATA_DIR)"

.PHONY: help
help: ## Show this
	@awk -f scripts/help.awk $(MAKEFILE_LIST)

# The tools are pinned in tools/go.mod, built once and kept.
$(TOOLS)/golangci-lint: tools/go.mod
	@echo "building golangci-lint once (about 4 minutes on a cold cache)"
	@$(BUILD_TOOL) -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/gotestsum: tools/go.mod
	@$(BUILD_TOOL) -o $@ gotest.tools/gotestsum

$(TOOLS)/workflowcheck: tools/go.mod
	@$(BUILD_TOOL) -o $@ go.temporal.io/sdk/contrib/tools/workflowcheck

$(TOOLS)/stripe-mock: tools/go.mod
	@$(BUILD_TOOL) -o $@ github.com/stripe/stripe-mock
