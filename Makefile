# Needs python3 (3.11 to 3.13), make, and network access to packages. Nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
# Byte-code halves the start of every job; one BLAS thread a job, since several jobs run side by side.
unexport PYTHONDONTWRITEBYTECODE
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: help install slurm docs crate clusters multislice simulation demo test fuzz faults record verify scaling lint format lock clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"python {v} found, 3.11 to 3.13 needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	# uv, at the lock's own version and digest, installs the rest ten times faster than pip does.
	awk '/^[^ ]/ {keep = /^uv==/} keep' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q src
	touch $@

install: $(VENV)/installed ## .venv with everything that is pinned

# What an extra adds to the installation.
EXTRA := $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps --compile-bytecode -r
slurm: $(VENV)/installed ## the Slurm executor plugin, as an extra
	$(EXTRA) requirements-slurm.lock

crate: $(VENV)/installed ## the package that packs a run as an RO-Crate, as an extra
	$(EXTRA) requirements-crate.lock

CLUSTERS := $(VENV)/clusters
clusters: $(VENV)/installed ## beside .venv: Snakemake with plugins of other clusters, what deploys and validates, for tests
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(CLUSTERS)
	$(BIN)/uv pip install --quiet --python $(CLUSTERS)/bin/python --require-hashes --no-deps --compile-bytecode -r requirements-clusters.lock

docs: $(VENV)/installed ## the documentation as a site, in docs/_build/html; a warning is an error
	$(EXTRA) requirements-docs.lock
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html
	@echo "$(CURDIR)/docs/_build/html/index.html"

multislice: $(VENV)/installed ## multislice images (abTEM, an extra) of layers with a known thickness, measured
	$(EXTRA) requirements-simulation.lock
	$(BIN)/python benchmarks/layer/multislice.py waves simulation --set calibration --set report
	$(BIN)/python benchmarks/layer/multislice.py measure simulation --set calibration --set report
	$(BIN)/python benchmarks/layer/multislice.py table simulation

demo: $(VENV)/installed ## the demo study, from raw files to its page
	$(BIN)/snakemake --cores $(CORES) --quiet progress rules
	@echo "The page to read first: $(CURDIR)/results/reports/study.html"

simulation: $(VENV)/installed ## errors of the statistics over simulated studies, into docs/
	$(BIN)/snakemake simulation --cores $(CORES) --quiet progress rules
	cp results/simulation/simulation.tsv results/simulation/simulation.md docs/

test: $(VENV)/installed ## every test that this machine can run
	$(BIN)/python -m pytest

COUNT ?= 1500
SEED ?= 1
fuzz: $(VENV)/installed ## spoiled instrument files, sheets and configurations (COUNT=1500 SEED=1)
	$(BIN)/python tests/fuzz/files.py --count $(COUNT) --seed $(SEED) --keep .fuzz 2> /dev/null
	$(BIN)/python tests/fuzz/studies.py --count 600 --seed $(SEED)

faults: $(VENV)/installed ## a hundred kills of the demo study at random moments; goes on where it was stopped
	$(BIN)/python tests/faults/kills.py --demo --count 100 --longest 40 --seed $(SEED) .faults

record: $(VENV)/installed ## take the finished demo as what `make verify` compares with
	rm -rf config/demo/recorded
	mkdir -p config/demo/recorded
	cp results/MANIFEST.sha256 config/demo/recorded/
	cp -r results/tables config/demo/recorded/tables

verify: $(VENV)/installed ## hold the finished demo against the recorded one: the same bytes, or the same numbers
	$(BIN)/ceiflow verify . --against config/demo/recorded

scaling: $(VENV)/installed ## the tables of docs/scaling.md
	$(BIN)/python benchmarks/scaling/run.py

lint: $(VENV)/installed ## formatting and lint of rules and code
	$(BIN)/snakefmt --check workflow Snakefile
	$(BIN)/snakemake --lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/installed ## put rules and code in form
	$(BIN)/snakefmt workflow Snakefile
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11
lock: $(VENV)/installed ## pin anew what pyproject.toml allows
	$(LOCK) --upgrade pyproject.toml --extra demo --extra dev -o requirements.lock
	# Only what an extra adds: the rest is in requirements.lock.
	for extra in slurm simulation docs crate; do
	  $(LOCK) pyproject.toml --constraints requirements.lock --extra $$extra -o $(VENV)/$$extra.lock
	  awk 'NR == FNR {if (/^[^ ]/) known[$$1] = 1; next} /^[^ ]/ {keep = !($$1 in known)} keep' requirements.lock $(VENV)/$$extra.lock > requirements-$$extra.lock
	done
	# An environment of its own: the same versions but for the one package that the plugin of S3 wants older.
	awk '/^[^ ]/ {keep = !/^python-dateutil==/} keep' requirements.lock > $(VENV)/others.lock
	$(LOCK) --group pyproject.toml:clusters --constraints $(VENV)/others.lock -o requirements-clusters.lock

clean: ## results, logs, timings and the demo's raw files; not .venv
	rm -rf .snakemake raw/demo truth logs simulation benchmarks/*/*.tsv
	find results -mindepth 1 ! -name README.md -delete
