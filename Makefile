# Each target does its own set-up: on a fresh machine `make demo` is the only command to type. Nothing is done twice:
# the environment is made again only when pyproject.toml changes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One place names the version: pyproject.toml.
TORCH := $(shell sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
# Options for pip when it installs torch alone, such as an index with the CPU build (see README).
TORCH_OPTIONS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## make the virtual environment (the other targets do it by themselves)

# torch goes first and alone, so that its index is asked for nothing else and the rest then finds it in place.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: Python 3.11 or newer is needed; name one with PYTHON=...' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo 'hint: Debian and Ubuntu ship venv apart: apt install python3-venv' >&2; exit 1; }
	@echo 'setting up $(VENV): 1.9 GB and some three minutes, once' >&2
	@$(PIP) install $(TORCH_OPTIONS) '$(TORCH)'
	@$(PIP) install --editable '.[all,dev]'
	@touch $@

.PHONY: demo
demo: $(READY) ## the whole story in a throw-away folder: convert, serve, ask, re-template, repair, prune
	@$(BIN)/reconciler demo

.PHONY: test
test: $(READY) ## every test, with the real Olive and the real Foundry Local
	@$(PYTEST)

.PHONY: check
check: $(READY) ## format, lint, types, import contract, core tests: under a minute
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(PYTEST) -m 'not slow' tests/domain tests/manifests tests/templates tests/gates tests/planner tests/fleet tests/reports tests/architecture

.PHONY: bench
bench: $(READY) ## side by side with installed peers; tables, and JSON in bench/results/
	@for bench in startup convert8 noop_peers; do $(BIN)/python -m bench.$$bench; done

.PHONY: trust
trust: $(READY) ## what is promised and what was measured: docs/trust.md (RECONCILER_TEST_SIZE=nightly: full size)
	@$(BIN)/python -m bench.trust

.PHONY: schema
schema: $(READY) ## write schema/v1alpha1.json from the types
	@$(BIN)/reconciler schema > schema/v1alpha1.json.new
	@mv schema/v1alpha1.json.new schema/v1alpha1.json

.PHONY: format
format: $(READY) ## write the code as `make check` wants it
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format
