# make demo: trains and prunes the demo networks and compares them with the committed results.
# make tables: writes all tables, drawings and the report from the results there are.
# make bench: measures how fast all of it is, against goals (docs/speed.md).
# make gpu-check: checks what a card does, in under 8 minutes; without a card what a CPU can (docs/speed.md).
# make test: runs the quick tests, in minutes; make test-all also those that take processes and whole trainings, as continuous integration does.
# make test-faults: runs those that kill, damage and flood for up to half an hour.
# make test-cluster: starts a Slurm of one node and interrupts trainings in it, minutes; Debian, as root.
# All set up .venv first if it is missing: what running needs, from requirements.lock; bench, check and tests also what
# they need, from requirements-dev.lock. make setup and make setup-dev do that alone.

# Locked is what runs on Linux. Elsewhere pip would say so only after minutes, of one package, in words of its own.
SYSTEM := $(if $(filter Windows_NT,$(OS)),Windows,$(shell uname -s 2>/dev/null))
ifneq ($(filter-out Linux,$(SYSTEM)),)
$(error This needs Linux, and here is $(SYSTEM): use WSL on Windows, or on any system a container, by the Containerfile; docs/install.md says how)
endif

PYTHONS := python3.11 python3 python
IS_3_11 := -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
# The first that runs: a shim of pyenv is there even where its version is not chosen.
PYTHON ?= $(shell for python in $(PYTHONS); do env -u PYTHONHOME $$python $(IS_3_11) 2>/dev/null && command -v $$python && break; done)
# Settings for another Python would keep this one from starting, or lead pip past .venv.
unexport PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER := 0
BIN := .venv/bin
FIGURES := figure6-digits figure7-digits figure8-digits
CORES ?= 2
# The longest trainings go first, so that no core is idle at the end.
DEMO ?= demo
ONE_SEED := config/demo.yaml # the committed results have five
LONGEST := $(patsubst %,$(DEMO)/results/digits-110-%-s0/metrics.json,standard standard_side epsilon_side-2p5)

OUT ?= # of gpu-check: where its results go, by default to a file that names the card

.PHONY: demo demo-runs bench gpu-check tables test test-all test-faults test-cluster check setup setup-dev install lock

demo: demo-runs
	@$(BIN)/eps-resnet print --root demo --registry $(ONE_SEED) $(FIGURES)
	@$(BIN)/eps-resnet reproduction --root demo --registry $(ONE_SEED)
	@echo
	@echo "Where to look next:"
	@echo "  demo/paper_tables/index.html  all of it on one page; tables and figures lie beside it, results in demo/results/"
	@echo "  $(BIN)/eps-resnet claims   what the committed results, of more seeds, say of the paper's claims"
	@echo "  README.md, docs/              what else can be run, and how to read what comes out"

demo-runs: setup
	@$(BIN)/snakemake --cores $(CORES) --quiet rules --prioritize $(LONGEST) --config root=$(DEMO) registry=$(ONE_SEED) -- demo

# Measures every goal of speed in under 50 minutes and writes benchmarks/results/ (docs/speed.md).
bench: setup-dev
	@$(BIN)/python -m benchmarks

# Needs no locked environment: takes .venv if there is one, else PYTHON with the packages it has.
gpu-check:
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu_check $(OUT)

# Writes all tables, drawings and the report anew from the results there are; trains nothing.
tables: setup
	@$(BIN)/eps-resnet draw
	@$(BIN)/eps-resnet report

test: setup-dev
	@$(BIN)/python -m pytest

test-all: setup-dev
	@$(BIN)/python -m pytest -m "not faults and not cluster" --durations=30

test-faults: setup-dev
	@$(BIN)/python -m pytest -m faults --dist worksteal

test-cluster: setup-dev
	@$(BIN)/python -m pytest -m cluster -n 0

check: setup-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

setup: .venv/installed

setup-dev: .venv/installed-dev

# Of pip's output a line for each package as it comes, and whatever is no news of one. The shell alone reads it: other
# tools would hold lines back. A pipe's status is that of its end, so it is told of a failure in words.
# $(call install,LOCK)
define install
	@total=0; while read -r pin _; do case "$$pin" in *==*) total=$$((total + 1));; esac; done < $(1); \
	{ $(BIN)/python -m pip install --progress-bar off --no-deps --require-hashes -r $(1) || echo FAILED; } | { \
		count=0; while IFS= read -r line; do case "$$line" in \
			FAILED) exit 1;; \
			Collecting*|Processing*) count=$$((count + 1)); set -- $$line; echo "  $$count of $$total: $${2##*/}";; \
			Requirement*) count=$$((count + 1));; \
			*Downloading*[0-9][0-9][0-9].[0-9]\ MB*) echo "  $$line";; \
			Installing*) echo "  unpacking them, which takes as long again";; \
			*Downloading*|*Using\ cached*|*Obtaining*|Looking\ in*|Successfully*) ;; \
			*) echo "$$line";; \
		esac; done; }
endef

# The stamps hold the locks' digests, which decide: times mean nothing after a clone or a copy.
.venv/installed: $(shell cat requirements.lock pyproject.toml | sha256sum | cmp -s - .venv/installed || echo install)
	@test -n "$(PYTHON)" && $(PYTHON) $(IS_3_11) || { \
		echo "Python 3.11 is needed, which is none of these:"; \
		for python in $(or $(PYTHON),$(PYTHONS)); do echo "  $$python: $$($$python --version 2>&1 | head -n 1)"; done; \
		echo "Install it, or say where it is: make PYTHON=/path/to/python3.11 setup. Other ways: docs/install.md"; exit 1; }
	@echo "Installing the environment into .venv (6 GB, minutes):"
	@$(PYTHON) -m venv .venv
	$(call install,requirements.lock)
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@cat requirements.lock pyproject.toml | sha256sum > $@

.venv/installed-dev: $(shell cat requirements-dev.lock 2>/dev/null | sha256sum | cmp -s - .venv/installed-dev || echo install) | .venv/installed
	@echo "Installing what tests, checks and benchmarks need into .venv:"
	$(call install,requirements-dev.lock)
	@cat requirements-dev.lock | sha256sum > $@

# Renews every pin; needs uv. First all of them together, then those of them that running needs; the others are of the
# tests.
UV_COMPILE := uv pip compile --quiet --generate-hashes --python-version 3.11 --no-annotate --custom-compile-command "make lock"
lock:
	$(UV_COMPILE) --upgrade --extra dev -o requirements-dev.lock pyproject.toml
	cp requirements-dev.lock requirements.lock
	$(UV_COMPILE) -o requirements.lock pyproject.toml # keeps the pins that it finds there
	awk 'NR == FNR { known[$$1]; next } /^[a-z0-9]/ { skip = $$1 in known } !skip' requirements.lock requirements-dev.lock > requirements-dev.lock.new
	mv requirements-dev.lock.new requirements-dev.lock
