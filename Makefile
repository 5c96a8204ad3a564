# Everything that a contributor runs. `make demo` and `make test` set themselves up.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0

.PHONY: demo test test-slow test-all lint docs audit fuzz bench grounder clean

demo: $(VENV)/core
	$(BIN)/groundingme demo --out demo

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 -m "not slow and not registry"

# What `make test` leaves out: training, Ray, notebooks, parts from package registries.
test-slow: $(VENV)/train
	$(BIN)/python -m pytest -n 2 -m "slow or registry"

test-all: $(VENV)/train
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site, in site/; warnings are errors. Open site/index.html.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Known holes in what is installed (needs the net), and risky code; docs/security.md explains what
# is left out.
audit: $(VENV)/dev
	$(BIN)/python -m pip install --quiet bandit pip-audit
	$(BIN)/bandit --quiet --recursive src --skip B101,B311,B614,B615
	$(BIN)/pip-audit --skip-editable

# An hour of hostile replies; FUZZ_SECONDS says otherwise. The corpus is in .fuzz/.
fuzz: $(VENV)/dev
	$(BIN)/python -m pip install --quiet atheris
	$(BIN)/python tests/fuzz/replies.py .fuzz -max_total_time=$${FUZZ_SECONDS:-3600}

bench: $(VENV)/dev
	$(BIN)/python bench/run.py

# The built-in grounder from scratch: under an hour on two cores, or --device cuda.
grounder: $(VENV)/train
	$(BIN)/python -m groundingme.train.grounder --out grounder

clean:
	rm -rf $(VENV) demo runs dist site grounder .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, as make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev,google,anthropic]"
	touch $@ $(VENV)/core

$(VENV)/docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@ $(VENV)/core

# Torch first and by itself, so that its CPU build is taken where there is one.
$(VENV)/train: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev,docs,google,anthropic,train,transformers,ray,inspect,notebooks]" openai
	touch $@ $(VENV)/dev $(VENV)/docs $(VENV)/core
