# What a developer runs. `make run` and `make test` need a Rust toolchain and no step before them.
# PROFILE=release builds the fast server (first build much longer, see docs/build/README.md).
PROFILE ?= dev
CONFIG ?= settings.toml

# The whole workspace is built, not the server alone: a selection resolves other features of the
# dependencies, and the tests would build all of them once more.
PROGRAM = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/kalamdb-server

.DEFAULT_GOAL := help
.PHONY: help setup run token test lint docs ci crash fuzz

help:
	@echo 'make run    build and start the server on $(CONFIG)'
	@echo 'make token  a token for the user in WHO, from $(CONFIG)'
	@echo 'make test   run every test'
	@echo 'make setup  install what a build and the tests need'
	@echo 'make lint   formatting, clippy, crate borders'
	@echo 'make docs   API documentation, warnings denied'
	@echo 'make fuzz   every fuzz target for SECONDS_EACH seconds, 60 if unset'
	@echo 'make ci     everything a change has to pass'

setup:
	@.ci/setup.sh test

run:
	@.ci/setup.sh build
	cargo build --locked --profile $(PROFILE) --workspace --all-targets
	exec $(PROGRAM) serve --config $(CONFIG)

# A token for a user, from the same settings: make token WHO=ann
token:
	@cargo build --quiet --locked --profile $(PROFILE) --workspace --all-targets
	@$(PROGRAM) token --config $(CONFIG) --user $(WHO) --ttl 1h

# All targets in one build first: the crash tests start the real binary from the target directory.
# nextest does not run documentation tests.
test:
	@.ci/setup.sh test
	cargo build --locked --workspace --all-targets
	cargo nextest run --locked --workspace
	cargo test --locked --workspace --doc

lint:
	@.ci/setup.sh ci
	cargo fmt --all --check
	.ci/borders.sh
	cargo clippy --locked --workspace --all-targets -- -D warnings

docs:
	@.ci/setup.sh build
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

ci:
	.ci/run

# The crash tests for 50 rounds; `make test` runs two or three.
crash:
	@.ci/setup.sh test
	cargo build --locked --workspace --all-targets
	KALAMDB_CRASH_ROUNDS=50 KALAMDB_LIVE_KILL_ROUNDS=50 cargo nextest run --locked -p kalamdb-tests crash:: live_kills::

# Every fuzz target, or those in TARGETS, for so many seconds each.
SECONDS_EACH ?= 60
fuzz:
	@.ci/setup.sh build
	.ci/fuzz.sh $(SECONDS_EACH) $(TARGETS)
