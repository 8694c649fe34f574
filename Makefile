# Every target sets up what it needs in .venv, also on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
MODELS ?= build/models
export PIP_DISABLE_PIP_VERSION_CHECK := 1
INSTALL := $(BIN)/python -m pip install --quiet
# What needs to be known of pip's chatter is its errors.
QUIET := 2>&1 | { grep -v '^WARNING' || true; }

.PHONY: demo test integration ray lint type bench-pocket clean
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

.venv/.package: pyproject.toml
	$(PYTHON) -m venv .venv
	$(INSTALL) --upgrade 'pip>=25.1' $(QUIET)
	@# Pinned and first: it is the CPU build where that is what the index has, and later steps leave it alone.
	$(INSTALL) torch==2.13.0 $(QUIET)
	$(INSTALL) --editable '.[huggingface,cli]' $(QUIET)
	@touch $@

.venv/.bench: .venv/.package
	$(INSTALL) --group bench $(QUIET)
	@touch $@

.venv/.test: .venv/.package
	$(INSTALL) --group test $(QUIET)
	@touch $@

.venv/.lint: .venv/.test
	$(INSTALL) --group lint $(QUIET)
	@touch $@

.venv/.integration: .venv/.test
	$(INSTALL) --group integration $(QUIET)
	@touch $@

# Ray brings three dozen packages with versions of its own, so it has a place of its own.
.venv-ray/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --upgrade 'pip>=25.1' $(QUIET)
	.venv-ray/bin/python -m pip install --quiet torch==2.13.0 $(QUIET)
	.venv-ray/bin/python -m pip install --quiet --editable '.[huggingface]' --group ray $(QUIET)
	@touch $@

demo: .venv/.package
	$(BIN)/spec-thinking demo

test: .venv/.test
	$(BIN)/python -m pytest tests/unit_tests --disable-socket --allow-unix-socket

# Real models, real servers on loopback. The models lie in $(MODELS); tests whose model is not there are skipped.
integration: .venv/.integration
	SPEC_THINKING_MODELS=$(MODELS) $(BIN)/python -m pytest tests/integration_tests --timeout 900 --durations 10

# The OpenAI-compatible server on Ray Serve: two replicas of the pocket pair on loopback. Three minutes, most of them pip's.
ray: .venv-ray/.ready
	.venv-ray/bin/python -m pytest tests/integration_tests/test_ray_serve.py

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: .venv/.lint
	$(BIN)/mypy

# The pair against each of its models, on 500 problems: build/pocket.json and build/pocket.png.
bench-pocket: .venv/.bench
	$(BIN)/python -m benchmarks.pocket.compare

clean:
	rm -rf .venv .venv-ray build
