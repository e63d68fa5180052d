# `make` prints what there is to call.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory --warn-undefined-variables

PYTHON ?= python3
PYTEST_ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
INSTALLED_LOWEST := .venv-lowest/.installed

.PHONY: help
help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(INSTALLED) ## Make .venv with everything that the other targets need

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Tailrace needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up .venv"
	@[[ -x $(BIN)/pip ]] || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --constraint constraints.txt pip
	@$(BIN)/pip install --quiet --constraint constraints.txt --group dev
	@$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[server,otel,msgpack]'
	@touch $@

.PHONY: format
format: setup ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format
	if command -v gofmt >/dev/null; then gofmt -w examples/go; fi

.PHONY: check
check: lint types imports tree proto-check ## Everything that can be said without running the code

.PHONY: lint
lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	if command -v go >/dev/null; then scripts/check_go; fi

.PHONY: types
types: setup ## Check types with mypy and pyright
	$(BIN)/mypy
	scripts/check_pyright

.PHONY: imports
imports: setup
	$(BIN)/lint-imports

.PHONY: tree
tree: setup
	$(BIN)/python scripts/check_tree.py
	$(BIN)/python scripts/check_promises.py
	$(BIN)/python scripts/check_docstrings.py

.PHONY: proto-check
proto-check: setup
	scripts/check_proto

.PHONY: proto
proto: setup ## Generate the stubs anew after a change in proto/
	scripts/update_stubs

.PHONY: test
test: setup redis-server ## Run all tests (PYTEST_ARGS=... to choose)
	$(BIN)/pytest $(PYTEST_ARGS)

.PHONY: faults
faults: setup redis-server ## Run the fault tests at full length: crash upon crash, a minute of idle waits
	FAULTS=full $(BIN)/pytest tests/faults $(PYTEST_ARGS)

.PHONY: redis-server
redis-server:
	@scripts/ensure_command redis-server redis-server
	@scripts/ensure_command redis-cli redis-tools

.PHONY: lowest
lowest: $(INSTALLED_LOWEST) ## Run the unit tests on the oldest releases that pyproject.toml allows
	.venv-lowest/bin/pytest --quiet tests/unit

$(INSTALLED_LOWEST): pyproject.toml constraints.txt constraints-lowest.txt
	@echo "Setting up .venv-lowest"
	@[[ -x .venv-lowest/bin/pip ]] || $(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/pip install --quiet --constraint constraints.txt pip
	@.venv-lowest/bin/pip install --quiet --constraint constraints.txt --group test
	@.venv-lowest/bin/pip install --quiet --constraint constraints-lowest.txt --no-build-isolation --editable '.[server,msgpack]'
	@touch $@

.PHONY: mutants
mutants: setup redis-server ## Break the stores on purpose and show that the tests notice
	$(BIN)/python -m tests.mutants

.PHONY: demo
demo: setup ## See it at work: server, worker and some hundred tasks
	@$(BIN)/python -m examples.demo

.PHONY: clean
clean: ## Remove everything that can be made again
	rm -rf .venv .venv-lowest .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .mutants dist tests/typing/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
