# Every target sets up what it needs in a virtual environment of its own. All that has to be there
# is make and Python 3.11 or newer; another interpreter is chosen with `make demo PYTHON=python3.12`.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= tensorflow,tfp,examples,dev
# Extra arguments, e.g. `make demo ARGS="--methods fa kp --epochs 5"` or `make test ARGS="-k data"`.
ARGS ?=

# Where the benchmarks write numbers and figures.
BENCH ?= results/bench

# An environment of its own for `make tpu-check`: the TPU build of TensorFlow is another distribution.
TPU_VENV ?= .venv-tpu
TPU_STAMP := $(TPU_VENV)/.installed

# Likewise for `make peers`: the library that this one is compared with needs torch. Options for pip,
# e.g. `make peers PEERS_PIP="--extra-index-url https://download.pytorch.org/whl/cpu"`.
PEERS_VENV ?= .venv-peers
PEERS_STAMP := $(PEERS_VENV)/.installed
PEERS_PIP ?=

# Likewise for the site, which needs no TensorFlow.
DOCS_VENV ?= .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.installed
# Extensions of our own are in docs/tools. The notice is that of Material's successor.
MKDOCS := NO_MKDOCS_2_WARNING=1 PYTHONPATH=docs/tools $(DOCS_VENV)/bin/mkdocs

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := tf_alignment examples benchmarks tests docs/tools setup.py

# TensorFlow's messages at start-up say nothing about the run; errors arrive as exceptions.
export TF_CPP_MIN_LOG_LEVEL ?= 3

# One process a core with one thread each: what the tests train is too small for several threads.
PYTEST := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(BIN)/python -m pytest \
  --numprocesses auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format bench bench-quick peers tpu-check docs docs-serve clean

help:
	@echo "make demo       train a small network on handwritten digits with every method"
	@echo "make test       linters, type checker and the tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make lint       linters and type checker alone"
	@echo "make format     rewrite the sources in the project's format"
	@echo "make bench      time, memory and compilation of a training step; phases; spikes; the import"
	@echo "make bench-quick  the same in minutes: a few methods, a few rounds"
	@echo "make peers      gradients and step times beside those of BioTorch"
	@echo "make tpu-check  lower training steps and phases to TPU code, without a TPU"
	@echo "make docs       build the documentation site into build/site"
	@echo "make docs-serve  show it in a browser, and build it again when a page changes"
	@echo "make clean      remove the virtual environment and everything generated"

# The environment is built again when a requirement changes, and repaired if setting it up was
# interrupted: a venv without a working pip is made anew.
$(STAMP): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed. Received: PYTHON=$(PYTHON), which is" \
	    "$$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo "Creating the virtual environment $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing the package and its requirements into $(VENV) (once; this takes a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/quickstart.py $(ARGS)

test: lint
	$(PYTEST) $(ARGS)

test-slow: $(STAMP)
	$(PYTEST) -m slow $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(STAMP)
	$(BIN)/python benchmarks/import_time.py --output $(BENCH)/import_time.json
	$(BIN)/python benchmarks/step_time.py --output $(BENCH)/step_time.json $(ARGS)
	$(BIN)/python benchmarks/memory.py --output $(BENCH)/memory.json
	$(BIN)/python benchmarks/phase_time.py --output $(BENCH)/phase_time.json
	$(BIN)/python benchmarks/spiking.py --output $(BENCH)/spiking.json
	$(BIN)/python benchmarks/report.py $(BENCH)

bench-quick: BENCH := $(BENCH)-quick
bench-quick: $(STAMP)
	$(BIN)/python benchmarks/import_time.py --runs 3 --output $(BENCH)/import_time.json
	$(BIN)/python benchmarks/step_time.py --models mlp lenet_cifar --methods fa brsf kp wm aa \
	  --modes fit --rounds 5 --seconds 0.3 --output $(BENCH)/step_time.json $(ARGS)
	$(BIN)/python benchmarks/memory.py --models lenet_cifar --methods fa wm --runs 1 \
	  --output $(BENCH)/memory.json
	$(BIN)/python benchmarks/phase_time.py --models mlp --phases np --rounds 3 \
	  --output $(BENCH)/phase_time.json
	$(BIN)/python benchmarks/report.py $(BENCH)

# BioTorch's layers need torch and numpy alone; what else it requires is for its data and models.
$(PEERS_STAMP): Makefile
	@echo "Installing BioTorch and torch into $(PEERS_VENV) (once)"
	@$(PYTHON) -m venv --clear $(PEERS_VENV)
	@$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PEERS_PIP) \
	  "torch==2.13.0" "numpy==2.4.6"
	@$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  "biotorch==0.0.16"
	@touch $@

peers: $(STAMP) $(PEERS_STAMP)
	@$(BIN)/python benchmarks/peers.py --python $(PEERS_VENV)/bin/python $(ARGS)

$(TPU_STAMP): setup.py
	@echo "Installing the TPU build of TensorFlow into $(TPU_VENV) (once; 2 GB)"
	@$(PYTHON) -m venv --clear $(TPU_VENV)
	@$(TPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  "tensorflow-tpu==2.20.0" "libtpu==0.0.20" -e .
	@touch $@

tpu-check: $(TPU_STAMP)
	@$(TPU_VENV)/bin/python benchmarks/tpu_check.py $(ARGS)

$(DOCS_STAMP): setup.py constraints.txt
	@echo "Installing what builds the site into $(DOCS_VENV) (once)"
	@$(PYTHON) -m venv --clear $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e ".[docs]"
	@touch $@

docs: $(DOCS_STAMP)
	$(MKDOCS) build --strict

docs-serve: $(DOCS_STAMP)
	$(MKDOCS) serve

clean:
	rm -rf $(VENV) $(TPU_VENV) $(PEERS_VENV) $(DOCS_VENV) build dist results *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
