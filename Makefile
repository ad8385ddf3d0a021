# KAML-D, the node data plane: every verb a developer needs. Recipes stay short; longer logic lives in .ci/.
# `make help` lists the verbs.

SHELL := /bin/bash
SWIFT := .ci/swift.sh
SOURCES := Sources Tests Package.swift

.DEFAULT_GOAL := help
.PHONY: help setup build run test unit integration bench libkaml pod stress fuzz fuzz-short lint format metrics proto clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the Debian packages that are missing; find the Swift toolchain
	@.ci/setup.sh

build: setup ## release build of everything
	$(SWIFT) build -c release

run: build ## commit a dataset, mount it, read it back (DATA=/some/dir, STORE=/some/dir or s3://bucket/prefix)
	@.ci/demo.sh

test: setup lint unit integration fuzz-short ## everything: setup, lint, unit and integration tests, a short fuzzing run

unit: setup ## debug build and the unit tests
	.ci/test.sh --skip IntegrationTests

integration: build ## the integration tests, with the release build of kaml
	KAML_BIN=$(CURDIR)/.build/release/kaml .ci/test.sh --filter IntegrationTests

libkaml: setup ## the C library for pods, into Sources/Pod/libkaml/build
	$(MAKE) -C Sources/Pod/libkaml

pod: setup ## what runs in pods against a stand-in agent: two TensorFlows, sanitizers, valgrind
	.ci/pod.sh

bench: build ## figures against peers, into .build/bench.json (GROUP=store|mount|s3|faults|agent|feed, ONLY=words in a row's name)
	@python3 Tests/Bench/bench.py $(if $(GROUP),--group $(GROUP)) $(if $(ONLY),--only "$(ONLY)")

stress: build ## the integration tests with their long fault loops
	KAML_STRESS=1 KAML_BIN=$(CURDIR)/.build/release/kaml .ci/test.sh --filter IntegrationTests

fuzz: setup ## a long fuzzing run (SECONDS_EACH=600)
	@.ci/fuzz.sh $(or $(SECONDS_EACH),600)

fuzz-short: setup
	@.ci/fuzz.sh 5

lint: setup ## formatting and style; changes nothing
	$(SWIFT) format lint --strict --parallel --recursive $(SOURCES)
	shellcheck .ci/run .ci/*.sh

format: setup ## format the Swift sources in place
	$(SWIFT) format --in-place --parallel --recursive $(SOURCES)

metrics: setup ## regenerate the metrics' Swift and the README's table from Sources/Ground/Telemetry/metrics.yaml
	@.ci/metrics.py

proto: setup ## regenerate Swift from proto/
	@.ci/proto.sh

clean: ## remove what the builds made (keeps downloaded data)
	$(SWIFT) package clean
