# make demo: trains and prunes the demo networks and compares them with the committed results.
# make tables: writes all tables, drawings and the report from the results there are.
# make bench: measures how fast all of it is, against goals (docs/speed.md).
# make gpu-check: checks what a card does, in under 8 minutes; without a card what a CPU can (docs/speed.md).
# make test: runs the quick tests, in minutes; make test-all also those that take processes and whole trainings, as continuous integration does.
# make test-faults: runs those that kill, damage and flood for up to half an hour. All set up .venv from the lock file first if it is missing.
# make test-cluster: starts a Slurm of one node and interrupts trainings in it, minutes; Debian, as root.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
FIGURES := figure6-digits figure7-digits figure8-digits
CORES ?= 2
# The longest trainings go first, so that no core is idle at the end.
DEMO ?= demo
ONE_SEED := config/demo.yaml # the committed results have five
LONGEST := $(patsubst %,$(DEMO)/results/digits-110-%-s0/metrics.json,standard standard_side epsilon_side-2p5)

OUT ?= # of gpu-check: where its results go, by default to a file that names the card

.PHONY: demo demo-runs bench gpu-check tables test test-all test-faults test-cluster check setup install lock

demo: demo-runs
	@$(BIN)/eps-resnet print --root demo --registry $(ONE_SEED) $(FIGURES)
	@$(BIN)/eps-resnet reproduction --root demo --registry $(ONE_SEED)
	@echo "All of it on one page: demo/paper_tables/index.html. Tables and figures lie beside it, results in demo/results/."

demo-runs: setup
	@$(BIN)/snakemake --cores $(CORES) --quiet rules --prioritize $(LONGEST) --config root=$(DEMO) registry=$(ONE_SEED) -- demo

# Measures every goal of speed in under 20 minutes and writes benchmarks/results/ (docs/speed.md).
bench: setup
	@$(BIN)/python -m benchmarks

# Needs no locked environment: takes .venv if there is one, else PYTHON with the packages it has.
gpu-check:
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu_check $(OUT)

# Writes all tables, drawings and the report anew from the results there are; trains nothing.
tables: setup
	@$(BIN)/eps-resnet draw
	@$(BIN)/eps-resnet report

test: setup
	@$(BIN)/python -m pytest

test-all: setup
	@$(BIN)/python -m pytest -m "not faults and not cluster" --durations=30

test-faults: setup
	@$(BIN)/python -m pytest -m faults --dist worksteal

test-cluster: setup
	@$(BIN)/python -m pytest -m cluster -n 0

check: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

setup: .venv/installed

# The stamp holds the lock file's digest, which decides: times mean nothing after a clone or a copy.
.venv/installed: $(shell cat requirements.lock pyproject.toml | sha256sum | cmp -s - .venv/installed || echo install)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed, found '$(PYTHON)'; give it: make PYTHON=/path/to/python3.11 setup"; exit 1; }
	@echo "Installing the environment into .venv (several GB, minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@cat requirements.lock pyproject.toml | sha256sum > $@

# Renews every pin; needs uv.
lock:
	uv pip compile --quiet --generate-hashes --python-version 3.11 --extra dev --no-annotate -o requirements.lock pyproject.toml
