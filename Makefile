# Everything that is done with this repository. The work itself is in deploy/scripts, one script a job.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
export GOTOOLCHAIN := local

# Longest time of one fuzz target, and of the soak test.
T ?= 30s

version := $(shell deploy/scripts/version.sh)
commit := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
stamp := github.com/calimero-network/mero-go/pkg/buildinfo
ldflags := -s -w -X $(stamp).Version=$(version) -X $(stamp).Commit=$(commit)

.DEFAULT_GOAL := help
.PHONY: help build app bin/mero-bundle bundle sample up down clean bootstrap-secret check test e2e test-root bench fuzz soak

help: ## Show the targets
	@awk -F ': .*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: bin/mero-bundle ## Build bin/mero-auth, bin/merod and bin/mero-bundle, static and with the version stamped in
	@echo "Building bin/mero-auth, bin/merod and bin/mero-bundle $(version) ($(commit))"
	@CGO_ENABLED=0 GOWORK=off go -C services/auth build -trimpath -ldflags '$(ldflags)' -o ../../bin/mero-auth ./cmd/mero-auth
	@CGO_ENABLED=0 GOWORK=off go -C services/node build -trimpath -ldflags '$(ldflags)' -o ../../bin/merod ./cmd/merod

app: ## Compile the sample application (bin/kv-store.wasm) with clang
	@deploy/scripts/packages.sh app
	@deploy/scripts/app.sh bin
	@cp services/node/testapp/*.abi.json bin/
	@echo "bin/kv-store.wasm and bin/kv-store-v2.wasm, with their ABI beside them"

bin/mero-bundle:
	@CGO_ENABLED=0 GOWORK=off go -C services/node build -trimpath -ldflags '$(ldflags)' -o ../../bin/mero-bundle ./cmd/mero-bundle

bundle: bin/mero-bundle ## Pack the sample application as a signed bundle (bin/kv-store.mpk)
	@deploy/scripts/bundle.sh bin

sample: ## Put the sample's bundle where the running node may install it from and print that path
	@$(MAKE) bundle >&2
	@deploy/scripts/sample.sh

up: ## Start the proxy, mero-auth and merod (with Docker Compose or natively) and print what to do next
	@deploy/scripts/up.sh

down: ## Stop what "make up" started; the data stays
	@deploy/scripts/down.sh

bootstrap-secret: ## Print the one-time secret for the first login to the running stack
	@deploy/scripts/bootstrap-secret.sh

clean: ## Stop the stack, remove its data and everything built
	@deploy/scripts/down.sh --volumes
	@echo "Removing .mero, bin and test leftovers (.tools stays)"
	@rm -rf .mero bin coverage.out

check: ## Check format, vet, lint, import order, module files and the builds, for each module
	@deploy/scripts/check.sh

test: ## Run the unit, race, integration and end-to-end tests
	@deploy/scripts/test.sh unit race e2e

e2e: ## Run only the end-to-end tests: the real nginx before the real binaries
	@deploy/scripts/test.sh e2e

test-root: ## Run the tests that need root: the compose file on a Docker engine, disks that fill up
	@deploy/scripts/test.sh root compose

bench: build ## Print what gate and node cost, as ratios with target and denominator
	@deploy/scripts/bench.sh

fuzz: ## Run every fuzz target for T each (make fuzz T=5m)
	@deploy/scripts/fuzz.sh $(T)

soak: build ## Run the soak tests for T (make soak T=1h)
	@MERO_SOAK=$(T) deploy/scripts/test.sh soak
