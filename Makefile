# vapray: `make demo` runs everything on drawn phantoms, `make test` the tests. Both need only Python 3.11+.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV = $(if $(shell command -v uv),uv,$(BIN)/uv)
INSTALL = $(UV) pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable
SETTINGS ?=
WORKERS ?= 3
SLOW_WORKERS ?= 2
PYTEST_RUN = $(BIN)/python -m pytest -q --no-loadscope-reorder -n

help:  ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vapray needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.11" >&2; exit 2; }
	@if command -v uv >/dev/null; then uv venv --quiet --python $(PYTHON) $(VENV); \
	else $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing. On Debian: apt-get install python3-venv" >&2; exit 2; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv; fi

$(VENV)/core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the core into $(VENV): about 90 packages, 2.5 GB to download and 6 GB on disk, most of it torch with CUDA"
	@echo "(set UV_TORCH_BACKEND=cpu for torch without CUDA where PyTorch's own index can be reached: 0.5 GB)"
	@$(INSTALL) .
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) ".[cpu-test,dev]"
	@touch $@ $(VENV)/core

demo: $(VENV)/core  ## Install the core, then run every stage on phantoms (10 minutes on two cores)
	@$(BIN)/vapray demo $(SETTINGS)

test: $(VENV)/dev  ## The tests
	@$(PYTEST_RUN) $(WORKERS) $(PYTEST)

test-slow: $(VENV)/dev  ## The tests that kill processes for minutes
	@$(PYTEST_RUN) $(SLOW_WORKERS) --timeout=1200 -m slow $(PYTEST)

test-cluster: $(VENV)/dev  ## Jobs and faults on several machines, made of namespaces; takes root
	@$(PYTEST_RUN) 0 --timeout=1200 -m cluster $(PYTEST)

check: $(VENV)/dev  ## Linters, types, and the rules about who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/dev  ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## Remove what can be made again
	rm -rf $(VENV) runs build *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo test test-slow test-cluster check format clean
