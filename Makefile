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
PHANTOMS := vapray/pretrained/phantoms
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

$(VENV)/docs: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) ".[docs]"
	@touch $@ $(VENV)/core

studio: $(VENV)/core  ## Install the core, then open the studio on weights that come with vapray
	@$(BIN)/vapray studio

demo: $(VENV)/core  ## Install the core, then run every stage on phantoms (4 to 8 minutes on two cores)
	@$(BIN)/vapray demo $(SETTINGS)

test: $(VENV)/dev  ## The tests
	@$(PYTEST_RUN) $(WORKERS) $(PYTEST)

test-slow: $(VENV)/dev  ## The tests that kill processes for minutes
	@$(PYTEST_RUN) $(SLOW_WORKERS) --timeout=1200 -m slow $(PYTEST)

test-cluster: $(VENV)/dev  ## Jobs and faults on several machines, made of namespaces; takes root
	@$(PYTEST_RUN) 0 --timeout=1200 -m cluster $(PYTEST)

test-clients: $(VENV)/dev  ## Other programs for OpenAI's API against the service: its Python and Node clients, LiteLLM, LangChain
	@mkdir -p build/clients && cp tests/clients/*.py tests/clients/*.mjs build/clients
	@test -x build/clients/bin/python || $(UV) venv --quiet --allow-existing --python $(BIN)/python build/clients
	@$(UV) pip install --quiet --python build/clients/bin/python -r tests/clients/requirements.txt
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix build/clients openai@6; fi
	@$(PYTEST_RUN) 0 --timeout=600 -m clients $(PYTEST)

test-image: $(VENV)/dev  ## Build cluster/Dockerfile.cpu with buildah, run it as uid 1000 on a read-only root; takes root and 45 GB
	@$(PYTEST_RUN) 0 --timeout=3600 -m image -s -rs $(PYTEST)

soak: $(VENV)/dev  ## The service under load: kills of every kind of replica, and ten minutes in which nothing may grow
	@$(PYTEST_RUN) 0 --timeout=1800 -m soak -s $(PYTEST)

check: $(VENV)/dev  ## Linters, types, and the rules about who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/docs  ## Build the documentation as a site in site/; warnings are errors
	@$(BIN)/python -m sphinx -W --keep-going -q -E -c docs/_site -d build/doctrees . site
	@echo "Documentation: site/index.html"

weights: $(VENV)/core  ## Train the weights that `vapray studio` opens again (20 minutes on two cores)
	@$(BIN)/vapray run pipeline --config jobs/configs/phantom_weights.yaml
	@rm -rf $(PHANTOMS)/final
	@$(BIN)/python -m vapray.export.half_precision $$(ls -td runs/phantom_weights/checkpoints/*/files/final | head -1) $(PHANTOMS)/final

format: $(VENV)/dev  ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

release: $(BIN)/python  ## Wheel, sdist, SBOM and checksums of this version, in dist/
	@UV=$(UV) PYTHON=$(BIN)/python release/build

lock: $(VENV)/dev  ## Write release/core.txt: the core's dependencies in the installed versions
	@$(UV) pip freeze --quiet --python $(BIN)/python --exclude-editable | sed -E '/^torch/s/[+].*//' > $(VENV)/installed.txt
	@{ echo "# All dependencies of the core, in tested versions: Linux x86_64, Python 3.11. Made by \`make lock\`."; \
	$(UV) pip compile --quiet --no-header --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--constraint $(VENV)/installed.txt pyproject.toml; } > $(VENV)/core.txt
	@mv $(VENV)/core.txt release/core.txt

clean:  ## Remove what can be made again
	rm -rf $(VENV) runs build dist site *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help studio demo test test-slow test-cluster test-clients test-image soak check weights docs format release lock clean
