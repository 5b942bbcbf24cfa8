# Everything from nothing: Python 3.11+ and make are enough. `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Whose vector instructions the tests compute with, `make test CPU=old` or `CPU=avx2`; else those of the machine.
CPU ?= own
CPU_own :=
CPU_old := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2
CPU_avx2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
SETTING = $(if $(filter own old avx2,$(CPU)),$(CPU_$(CPU)),$(error CPU must be own, old or avx2, but got $(CPU)))
# Threads of each test process of the first half of the tests, which make none of their own.
THREADS ?= 1
# Examples of `make fuzz`.
FUZZ ?= 20000
# Options of `make faults`, FAULTS="--kinds raylet gcs --runs 10".
FAULTS ?=
# Where `make docs` serves the documentation.
PORT ?= 8000
READY := $(VENV)/.ready
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# The core's tests with the lowest versions that pyproject.toml allows; a floor there is what passed here. uv takes torch from PyPI, unless
# FLOORS_TORCH names another build, `make test-floors FLOORS_TORCH=torch==2.13.0+cpu`, in an index or folder that uv's own UV_EXTRA_INDEX_URL
# or UV_FIND_LINKS tells. torch's floor is 2.13 because that is the lowest that was tested, not because a lower one failed.
FLOORS := .venv-floors
FLOORS_TORCH ?=
UV ?= $(BIN)/uv

.PHONY: help setup demo test test-fast test-slow test-floors fuzz faults coverage lint docs bench clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(READY) ## .venv with everything

# All but torch by uv, in half the time; by pip where pip alone is told of an index that has it.
$(READY): pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dualsweep needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch uv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]' || $(PIP) -e '.[dev]'
	ln -sfn "$(CURDIR)/dualsweep" "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dualsweep"  # for type checkers and editors
	touch $@

demo: $(READY) ## the main job: a constrained-diffusion sweep on a local Ray cluster, reviewed in MLflow
	@$(BIN)/python -m tests.isolated $(BIN)/dualsweep sweep sweeps/digits.yaml --json runs/digits/results.json

test: $(READY) ## the tests, two at a time, in a network namespace where one can be had: first those without Ray and Chromium
	$(SETTING) OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m tests.isolated $(BIN)/python -m pytest -n 2 --dist worksteal --durations=5 -m "not ray and not browser"
	$(SETTING) $(BIN)/python -m tests.isolated $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=12 -m "ray or browser"

test-fast: $(READY) ## the core alone, without the files of training loops, models, data, Ray and Chromium: within two minutes
	$(SETTING) OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not ray and not browser and not slow" tests/trainer $(addprefix --ignore tests/trainer/,engine models data)

test-slow: $(READY) ## the cases that `make test` leaves to cheaper ones that test the same
	$(SETTING) OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m tests.isolated $(BIN)/python -m pytest -n 2 --dist loadfile --durations=5 --dear -m dear

test-floors: $(READY) ## the core's tests with the lowest versions that pyproject.toml allows, on Python 3.11
	$(UV) venv --quiet --clear --python 3.11 $(FLOORS)
	$(UV) pip install --quiet --python $(FLOORS)/bin/python --resolution lowest-direct $(FLOORS_TORCH) -e '.[dev]'
	$(SETTING) OMP_NUM_THREADS=$(THREADS) $(FLOORS)/bin/python -m tests.isolated $(FLOORS)/bin/python -m pytest -n 2 --dist worksteal -m "not ray and not browser and not slow" tests/trainer tests/analysis

fuzz: $(READY) ## FUZZ (20,000) files and options that nobody would write, drawn anew each time: each is found good or told by line
	FUZZ=$(FUZZ) OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -q --timeout 7200 tests/fuzz

faults: $(READY) ## kills a process of a running sweep at a random moment, again and again, and prints what survived (about 40 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.isolated $(BIN)/python -m tests.faults $(FAULTS)

coverage: $(READY) ## lines and branches by room that the first half of the tests reaches; at least 90 % of the core's branches
	$(SETTING) OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m tests.isolated $(BIN)/python -m pytest -n 2 --dist worksteal -m "not ray and not browser" --cov --cov-report=
	$(BIN)/python -m tests.covered

lint: $(READY) ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY) ## the documentation site, every link checked, built into build/docs and served on 127.0.0.1:8000 (PORT=…)
	rm -rf build/docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "http://127.0.0.1:$(PORT)/ (Ctrl-C ends it)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/docs $(PORT)

bench: $(READY) ## the table of docs/measured.md, measured beside real peers (about 100 minutes); BENCH="step_cost ddp" for some of it
	$(BIN)/python -m tests.benchmarks $(BENCH)

clean: ## removes what runs and tools left behind (not .venv)
	rm -rf runs mlflow.db mlartifacts .coverage .pytest_cache .mypy_cache .ruff_cache
