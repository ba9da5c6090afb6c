# Each target does its own set-up: on a fresh machine `make demo` is the only command to type. Nothing is done twice.
# What is installed is what was tested: requirements/ is the lock, and only `make test-newest` looks beyond it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two environments in one folder: .light has what looks at manifests and checks the code, .ready also what converts and
# serves. Each is made again only when its lock changes.
LIGHT := $(VENV)/.light
READY := $(VENV)/.ready
# Options for pip when it installs torch alone, such as an index with the CPU build (see README).
TORCH_OPTIONS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Exactly what the lock lists, each file with a hash that it names; pip decides nothing.
LOCKED := $(PIP) install --no-deps --require-hashes
LOCKS := base foundry all dev
UV := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-annotate \
  --excludes requirements/torch.exclude --no-emit-package torch --custom-compile-command 'make lock'
# `make lock UPGRADE=--upgrade` takes the newest versions; without it those stay that the ranges still allow.
UPGRADE ?=
PYTEST_ARGS ?=
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
# One more than there are cores, because tests wait too: for daemons, disks and pauses. Each takes half a gigabyte.
PROCESSES = $(shell $(BIN)/python -c 'import os; print(min((os.cpu_count() or 1) + 1, 4))')

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## make the virtual environment (the other targets do it by themselves)

.PHONY: light
light: $(LIGHT) ## the same without what converts and serves: enough for validate, plan, diff, status, make check

$(LIGHT): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: Python 3.11 or newer is needed; name one with PYTHON=...' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo 'hint: Debian and Ubuntu ship venv apart: apt install python3-venv' >&2; exit 1; }
	@echo 'setting up $(VENV): first what looks and checks, about a minute' >&2
	@$(LOCKED) -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# torch goes last and alone, so that its index is asked for nothing else: what it needs is in place.
$(READY): $(LIGHT) requirements/all.txt requirements/torch.txt
	@echo 'setting up $(VENV): then what converts and serves, 1.9 GB and some three minutes, once' >&2
	@$(LOCKED) -r requirements/all.txt
	@$(PIP) install $(TORCH_OPTIONS) -r requirements/torch.txt
	@$(PIP) check
	@touch $@

.PHONY: lock
lock: $(LIGHT) ## write requirements/ from the ranges of pyproject.toml (UPGRADE=--upgrade: the newest they allow)
	@cat $(LOCKS:%=requirements/%.txt) 2>/dev/null > $(VENV)/lock.txt || true
	@$(UV) --all-extras --output-file $(VENV)/lock.txt $(UPGRADE) > /dev/null
	@lock() { rm -f requirements/$$1.txt; $(UV) --generate-hashes --constraints $(VENV)/lock.txt "$${@:2}" \
	    --output-file requirements/$$1.txt > /dev/null; }; \
	  lock base --extra build; lock foundry --extra build --extra foundry; \
	  lock all --extra build --extra all; lock dev --extra dev
	@sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml > requirements/torch.txt

.PHONY: demo
demo: $(READY) ## the whole story in a throw-away folder: convert, serve, ask, re-template, repair, prune
	@$(BIN)/reconciler demo

.PHONY: test
test: $(READY) ## every test, with the real Olive and the real Foundry Local (RECONCILER_TEST_SIZE=nightly: hours)
	@$(PYTEST) -n $(PROCESSES) $(PYTEST_ARGS)

.PHONY: test-newest
test-newest: $(READY) ## the same with the newest versions that pyproject.toml allows; says which one breaks what
	@TORCH_OPTIONS='$(TORCH_OPTIONS)' $(BIN)/python -m ci.newest $(VENV)-newest $(PYTEST_ARGS)

.PHONY: test-windows
test-windows: $(READY) ## the story and the core tests with a Windows Python under Wine, which is set up where it is missing
	@$(BIN)/python -m ci.windows $(VENV)-windows $(PYTEST_ARGS)

.PHONY: windows-zip
windows-zip: $(LIGHT) ## the portable zip for Windows x64, in dist/ (URL=https://...: and winget's files for it)
	@$(BIN)/python -m ci.windows_zip $(VENV)-windows $(URL)

.PHONY: check
check: $(LIGHT) ## format, lint, types, import contract, core tests: under a minute
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(MAKE) --no-print-directory -j2 .static .core

# Types and contract take one core, so they go beside the tests.
.PHONY: .static
.static: $(LIGHT)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: .core
.core: $(LIGHT)
	@$(PYTEST) -n auto --maxprocesses 4 -m 'not slow' tests/domain tests/manifests tests/templates tests/gates tests/planner tests/fleet tests/reports tests/architecture

.PHONY: bench
bench: $(READY) ## side by side with installed peers; tables, and JSON in bench/results/
	@for bench in startup names convert8 noop_peers; do $(BIN)/python -m bench.$$bench; done

.PHONY: bench-real
bench-real: $(READY) ## models of 0.5, 1.5 and 3 B beside Olive alone: docs/real-models.md (an hour, 12 GB of disk)
	@$(BIN)/python -m bench.real

.PHONY: trust
trust: $(READY) ## what is promised and what was measured: docs/trust.md (RECONCILER_TEST_SIZE=nightly: full size)
	@$(BIN)/python -m bench.trust

.PHONY: schema
schema: $(LIGHT) ## write schema/v1alpha1.json from the types
	@$(BIN)/reconciler schema > schema/v1alpha1.json.new
	@mv schema/v1alpha1.json.new schema/v1alpha1.json

.PHONY: format
format: $(LIGHT) ## write the code as `make check` wants it
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format
