# What a person needs to build, test and measure bearerd. `make test` is the README's command for a fresh Debian machine with Go.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME ?= 30s
PEERS := test/e2e/npm/node_modules/.package-lock.json
MODULES := test/e2e/sdk test/bench

.PHONY: build package test unit e2e peers race vet fmt fuzz bench compare cover clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/bearerd ./cmd/bearerd-demo

# The packages of this commit, for amd64 and arm64, to dist/; the same commit gives the same bytes.
package:
	bash deploy/package/build.sh dist

# Every test there is. The peers are real programs; one that is missing is a failure, never a skip.
test: unit e2e

unit:
	$(GO) test ./...

e2e: peers
	$(GO) test -tags e2e -count=1 -timeout 15m ./test/e2e/...
	for m in $(MODULES); do (cd $$m && $(GO) test -count=1 -timeout 15m ./...) || exit 1; done

peers: debian $(PEERS) kubernetes

.PHONY: debian kubernetes
debian:
	bash test/e2e/provision.sh

# Before the tests: it takes both cores for minutes, once.
kubernetes: debian
	bash test/e2e/kubernetes/build.sh

$(PEERS): test/e2e/npm/package-lock.json | debian
	cd test/e2e/npm && npm ci --ignore-scripts && touch node_modules/.package-lock.json

race:
	$(GO) test -race ./...

vet:
	$(GO) vet ./...
	$(GO) vet -tags e2e ./test/e2e/...
	for m in $(MODULES); do (cd $$m && $(GO) vet ./...) || exit 1; done
	for target in darwin/amd64 darwin/arm64 windows/amd64 linux/arm64; do \
	  GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) vet ./... || exit 1; done

fmt:
	gofmt -w $$(git ls-files '*.go')

# Each fuzz target of the main module in turn, for FUZZTIME.
fuzz:
	bash test/fuzz.sh $(FUZZTIME)

# The micro-benchmarks that stand next to the code.
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# bearerd beside nginx, HAProxy and a plain ReverseProxy; its token cache beside the clients of Azure's SDKs; its splice beside a plain relay.
compare: peers
	cd test/bench && $(GO) run . && $(GO) test -count=1 -run "TestTokenClients|TestSplice" -v .

cover:
	$(GO) test -coverprofile=cover.prof -coverpkg=./... ./...
	$(GO) tool cover -func=cover.prof | tail -1

clean:
	rm -rf bin dist cover.prof test/e2e/npm/node_modules
