# Every target sets up what it needs in a virtual environment of its own. All that has to be there
# is make and Python 3.11 or newer; another interpreter is chosen with `make demo PYTHON=python3.12`.
# CONTRIBUTING.md says which target is for what.

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
# Extensions and hooks of our own are in docs/tools. The notice is that of Material's successor.
MKDOCS := NO_MKDOCS_2_WARNING=1 PYTHONPATH=docs/tools $(DOCS_VENV)/bin/mkdocs

# Tests against other versions: `make test-with TENSORFLOW=2.20.0 KERAS=3.15.1 PYTHON=python3.12`.
# What depends on them most is layers, rules, optimizers and what is mended in Keras' trainer. The
# ends of the range that setup.py allows are what `make test-versions` runs.
TENSORFLOW ?= 2.21.0
KERAS ?= 3.15.1
WITH = .venv-$(notdir $(PYTHON))-tf$(TENSORFLOW)-keras$(KERAS)
CORE := tests/_support/test_compat.py tests/layers/test_base.py tests/feedback/test_methods.py tests/optimizers/test_split.py tests/test_distribute.py
VERSIONS := 2.19.1,3.12.4 2.20.0,3.15.1 2.21.0,3.15.1

# An environment without the project, which builds it, and one which has only what was built.
DIST_VENV ?= .venv-dist
WHEEL_VENV ?= .venv-wheel
UNPACKED := build/unpacked

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := tf_alignment examples benchmarks tests docs/tools tools setup.py

# TensorFlow's messages at start-up say nothing about the run; errors arrive as exceptions.
export TF_CPP_MIN_LOG_LEVEL ?= 3

# One process a core with one thread each: what the tests train is too small for several threads.
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
PARALLEL := --numprocesses auto --maxprocesses 8 --dist worksteal
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest $(PARALLEL)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-with test-versions coverage lint format hooks bench \
  bench-quick bench-keep measure peers tpu-check docs docs-serve notebook figures dist check-dist \
  clean

help:
	@echo "make demo       train a small network on handwritten digits with every method"
	@echo "make test       linters, type checker and the tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make test-with  the core tests with TENSORFLOW=2.21.0 KERAS=3.15.0 PYTHON=python3.11, say"
	@echo "make test-versions  the same with the oldest and the newest versions supported"
	@echo "make coverage   the tests, and which modules they leave unexecuted"
	@echo "make lint       linters and type checker alone"
	@echo "make format     rewrite the sources in the project's format"
	@echo "make hooks      have git run both before every commit"
	@echo "make bench      time, memory and compilation of a training step; phases; spikes; the import"
	@echo "make bench-quick  the same in minutes, held against the numbers that were kept"
	@echo "make bench-keep  keep what bench-quick measured, for later runs to be compared with"
	@echo "make measure    bench, bench-quick and peers in one go, for an idle machine"
	@echo "make peers      gradients and step times beside those of BioTorch"
	@echo "make tpu-check  lower training steps and phases to TPU code, without a TPU"
	@echo "make docs       build the documentation site into build/site"
	@echo "make docs-serve  show it in a browser, and build it again when a page changes"
	@echo "make notebook   write examples/notebooks anew from the tutorials"
	@echo "make figures    draw the figures of the tutorials and of the first page anew"
	@echo "make dist       build wheel and source distribution into dist"
	@echo "make check-dist  install the wheel into a new environment and use it there"
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
	$(BIN)/python -m examples.quickstart $(ARGS)

test: lint
	$(PYTEST) $(ARGS)

test-slow: $(STAMP)
	$(PYTEST) -m slow -o timeout=900 $(ARGS)

$(WITH)/.installed: setup.py
	@echo "Installing TensorFlow $(TENSORFLOW) and Keras $(KERAS) into $(WITH) (once)"
	@$(PYTHON) -m venv --clear $(WITH)
	@$(WITH)/bin/python -m pip install --quiet --disable-pip-version-check \
	  "tensorflow==$(TENSORFLOW)" "keras==$(KERAS)" \
	  hypothesis numpy pytest pytest-timeout pytest-xdist scikit-learn
	@$(WITH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-with: $(WITH)/.installed
	$(ONE_THREAD) $(WITH)/bin/python -m pytest $(PARALLEL) $(CORE) $(ARGS)

test-versions:
	@for both in $(VERSIONS); do \
	  $(MAKE) test-with TENSORFLOW=$${both%,*} KERAS=$${both#*,} || exit 1; done

coverage: $(STAMP)
	$(PYTEST) --cov --cov-report= $(ARGS)
	@mkdir -p build
	@$(BIN)/coverage json --quiet -o build/coverage.json
	@$(BIN)/python tools/coverage_table.py build/coverage.json

lint: $(STAMP)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP)
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

hooks: $(STAMP)
	$(BIN)/pre-commit install

bench: $(STAMP)
	$(BIN)/python benchmarks/import_time.py --output $(BENCH)/import_time.json
	$(BIN)/python benchmarks/step_time.py --output $(BENCH)/step_time.json $(ARGS)
	$(BIN)/python benchmarks/step_time.py --models mlp --modes fit --fused-sgd \
	  --output $(BENCH)/fused_sgd.json
	$(BIN)/python benchmarks/step_time.py --models resnet20 resnet20_fused --modes fit \
	  --methods fa sa dfa --policy mixed_bfloat16 --output $(BENCH)/bfloat16.json
	$(BIN)/python benchmarks/ablation.py --output $(BENCH)/ablation.json
	$(BIN)/python benchmarks/parts.py --output $(BENCH)/parts.json
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
	$(BIN)/python benchmarks/compare.py $(BENCH)

# What later runs of bench-quick are held against: to be made while nothing else runs.
bench-keep: $(STAMP)
	$(BIN)/python benchmarks/compare.py --keep $(BENCH)-quick

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

# All numbers of the documentation's pages on speed, one run after the other.
measure: $(STAMP) $(PEERS_STAMP)
	$(MAKE) bench
	$(MAKE) bench-quick
	$(MAKE) peers ARGS="--output $(BENCH)/peers.json"

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

notebook: $(STAMP)
	$(BIN)/python tools/notebook.py

# Figures of the tutorials, and of the first page (half an hour of processor time).
figures: $(STAMP)
	$(BIN)/python tools/pages.py docs/tutorials/*.md
	$(BIN)/python -m examples.at_a_glance --output results/at_a_glance
	cp results/at_a_glance/at_a_glance-*.png docs/assets
	$(BIN)/python tools/badges.py

$(DIST_VENV)/.installed: constraints.txt
	@$(PYTHON) -m venv --clear $(DIST_VENV)
	@$(DIST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt build check-wheel-contents twine
	@touch $@

dist: $(DIST_VENV)/.installed
	rm -rf dist
	$(DIST_VENV)/bin/python -m build --outdir dist > /dev/null
	$(DIST_VENV)/bin/twine check --strict dist/*
	$(DIST_VENV)/bin/check-wheel-contents dist/*.whl

# What comes from the source distribution is everything but the package, which is the wheel's.
check-dist: dist
	rm -rf $(UNPACKED)
	mkdir -p $(UNPACKED)
	tar -xzf dist/*.tar.gz --strip-components 1 -C $(UNPACKED)
	rm -r $(UNPACKED)/tf_alignment
	$(PYTHON) -m venv --clear $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  "$$(ls dist/*.whl)[tensorflow]" pytest pytest-timeout
	cd $(UNPACKED) && $(abspath $(WHEEL_VENV))/bin/python -m pytest tests/house/test_docs.py -k readme
	$(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  "$$(ls dist/*.whl)[examples]"
	cd $(UNPACKED) && $(abspath $(WHEEL_VENV))/bin/python -m examples.quickstart \
	  --methods fa kp --epochs 1 --seeds 1 --jobs 1
	cd $(UNPACKED) && $(abspath $(WHEEL_VENV))/bin/python -c \
	  'import importlib.resources as r; assert r.files("tf_alignment").joinpath("py.typed").is_file()'

clean:
	rm -rf .venv .venv-* $(VENV) $(TPU_VENV) $(DOCS_VENV) build dist results *.egg-info .coverage \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
