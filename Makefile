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

.PHONY: help install slurm demo multislice simulation test lint format lock clean

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

slurm: $(VENV)/installed ## the Slurm executor plugin, as an extra
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps --compile-bytecode -r requirements-slurm.lock

multislice: $(VENV)/installed ## multislice images (abTEM, an extra) of layers with a known thickness, measured
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps --compile-bytecode -r requirements-simulation.lock
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

lint: $(VENV)/installed ## formatting and lint of rules and code
	$(BIN)/snakefmt --check workflow Snakefile
	$(BIN)/snakemake --lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/installed ## put rules and code in form
	$(BIN)/snakefmt workflow Snakefile
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 pyproject.toml
lock: $(VENV)/installed ## pin anew what pyproject.toml allows
	$(LOCK) --upgrade --extra demo --extra dev -o requirements.lock
	$(LOCK) --constraints requirements.lock --extra slurm -o $(VENV)/slurm.lock
	$(LOCK) --constraints requirements.lock --extra simulation -o $(VENV)/simulation.lock
	# Only what an extra adds: the rest is in requirements.lock.
	awk 'NR == FNR {if (/^[^ ]/) known[$$1] = 1; next} /^[^ ]/ {keep = !($$1 in known)} keep' requirements.lock $(VENV)/slurm.lock > requirements-slurm.lock
	awk 'NR == FNR {if (/^[^ ]/) known[$$1] = 1; next} /^[^ ]/ {keep = !($$1 in known)} keep' requirements.lock $(VENV)/simulation.lock > requirements-simulation.lock

clean: ## results, logs, timings and the demo's raw files; not .venv
	rm -rf .snakemake raw/demo truth logs simulation benchmarks/*/*.tsv
	find results -mindepth 1 ! -name README.md -delete
