# Every target sets up what it needs, once: the files under .venv/ and .venv-peers*/ that start
# with a dot remember what is installed, and a second call goes straight to work.

PYTHON ?= python3
ARGS   ?=

VENV     := .venv
PEERS    := .venv-peers
BIN      := $(VENV)/bin
CREATED  := $(VENV)/.created-stamp
RUNTIME  := $(VENV)/.runtime-stamp
PACKAGE  := $(VENV)/.package-stamp
DEV      := $(VENV)/.dev-stamp
PEERS_OK := $(PEERS)/.peers-stamp
TRACR    := .venv-tracr
TRACR_OK := $(TRACR)/.tracr-stamp
# Peers whose pins conflict have environments of their own, without Cutaway (benchmarks/worker.py).
PEER_OF   = $(PEERS)-$(1)/.peers-stamp

# Without build isolation: hatchling is pinned in requirements.txt, so nothing else is fetched.
INSTALL_PACKAGE := -m pip install --quiet --no-deps --no-build-isolation --editable .
# One process per core (eight at most), each on one torch thread: more would only get in the way.
# A process that is done takes over tests of the others: the notebooks stand in one file, near the end.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help ioi test test-all test-tracr test-peers lint bench bench-edges bench-eap bench-sae bench-generate peers lab notebooks clean
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

ioi: $(PACKAGE) ## Run the IOI study on the embedded model (ARGS="--model gpt2" for another)
	@$(BIN)/cutaway run ioi $(ARGS)

test: $(DEV) ## Run the tests, all but the slow ones (ARGS="-k name" to choose)
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: $(DEV) ## Run every test, and test-peers (without it if ARGS choose)
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-thorough} $(PYTEST) $(ARGS)
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-peers)

test-tracr: $(TRACR_OK) ## Test the loader of compiled programs with Tracr itself
	@OMP_NUM_THREADS=1 $(TRACR)/bin/python -m pytest tests/test_tracr.py $(ARGS)

test-peers: $(PEERS_OK) $(call PEER_OF,saelens) $(call PEER_OF,sparsify) ## Hold our definitions and files to those of our peers
	@OMP_NUM_THREADS=1 $(PEERS)/bin/python -m pytest tests/test_peer_parity.py $(ARGS)
	@OMP_NUM_THREADS=1 PYTHONPATH=src $(PEERS)-saelens/bin/python -m pytest tests/test_saelens_parity.py $(ARGS)
	@OMP_NUM_THREADS=1 PYTHONPATH=src $(PEERS)-sparsify/bin/python -m pytest tests/test_sparsify_parity.py $(ARGS)

lint: $(DEV) ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(PEERS_OK) $(call PEER_OF,4) $(call PEER_OF,nnsight) ## Time the patching sweep beside TransformerLens 3.9 and 4, and nnsight
	@$(PEERS)/bin/python benchmarks/patching_sweep.py $(ARGS)

bench-edges: $(PEERS_OK) ## Time all edges, exactly, beside one full run for each
	@$(PEERS)/bin/python benchmarks/edges.py $(ARGS)

bench-eap: $(PACKAGE) $(call PEER_OF,4) $(call PEER_OF,autocircuit) ## Time edge attribution beside TransformerLens 4 and AutoCircuit
	@$(BIN)/python benchmarks/eap.py $(ARGS)

bench-sae: $(PACKAGE) $(call PEER_OF,saelens) $(call PEER_OF,sparsify) ## Time a dictionary's training step beside SAELens and sparsify
	@$(BIN)/python benchmarks/sae.py $(ARGS)

bench-generate: $(DEV) ## Time generation beside transformers
	@$(BIN)/python benchmarks/generate.py $(ARGS)

peers: $(PEERS_OK) $(foreach name,4 nnsight autocircuit saelens sparsify,$(call PEER_OF,$(name))) ## Set up every benchmark's peers

lab: $(DEV) ## Open the notebooks
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

notebooks: $(DEV) ## Run the notebooks again and keep the executed copies
	@$(BIN)/python notebooks/build.py $(ARGS)

clean: ## Remove the environments and all caches (runs/ stays)
	rm -rf $(VENV) $(PEERS) $(PEERS)-* $(TRACR) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find src tests benchmarks notebooks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# ---- set-up ----

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "Cutaway needs Python 3.11 or newer, and '$(PYTHON)' is not: say which to use, as in make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }

$(CREATED):
	@$(CHECK_PYTHON)
	@echo "Setting up $(VENV): this happens once."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): requirements.txt $(CREATED)
	@$(BIN)/python -m pip install --requirement requirements.txt
	@touch $@

$(PACKAGE): pyproject.toml $(RUNTIME)
	@$(BIN)/python $(INSTALL_PACKAGE)
	@touch $@

$(DEV): requirements-dev.txt $(PACKAGE)
	@$(BIN)/python -m pip install --requirement requirements-dev.txt
	@touch $@

$(PEERS_OK): benchmarks/requirements-peers.txt requirements.txt pyproject.toml
	@$(CHECK_PYTHON)
	@echo "Setting up $(PEERS): this happens once."
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --requirement benchmarks/requirements-peers.txt
	@$(PEERS)/bin/python $(INSTALL_PACKAGE)
	@touch $@

$(PEERS)-%/.peers-stamp: benchmarks/requirements-peers-%.txt requirements.txt
	@$(CHECK_PYTHON)
	@echo "Setting up $(@D): this happens once."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install $(if $(filter autocircuit,$*),--no-deps) --requirement $<
	@touch $@

$(TRACR_OK): benchmarks/requirements-tracr.txt requirements-dev.txt requirements.txt pyproject.toml
	@$(CHECK_PYTHON)
	@echo "Setting up $(TRACR): this happens once."
	@$(PYTHON) -m venv $(TRACR)
	@$(TRACR)/bin/python -m pip install --requirement benchmarks/requirements-tracr.txt
	@$(TRACR)/bin/python $(INSTALL_PACKAGE)
	@touch $@
