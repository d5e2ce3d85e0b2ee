# `make help` lists the targets. Needs Python 3.11 or newer and make; everything else goes to .venv.

PYTHON ?= python3
PROFILE ?= quick
DATA ?=
SET ?=

VENV := .venv
OPTIONS := $(if $(SET),--set '$(SET)')
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Threads that spin while they wait make two cores slower than one beside any other work.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help venv run book test lint format benchmark efficiency-record lock address clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile
	@echo "  PROFILE=quick (others: profiles/), DATA=folder of your own files,"
	@echo "  SET='03_finetuning.steps=100' (one parameter), PYTHON=python3"

venv: $(VENV)/installed ## make .venv from the lock

# The stamp is written last: an interrupted installation starts again.
$(VENV)/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV) (minutes, once) …"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q -r requirements.lock
	@touch $@

$(VENV)/installed: $(VENV)/locked pyproject.toml
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

book: $(VENV)/installed ## run the notebooks of PROFILE and build the book
	@$(BIN)/python -m prism_utils.study book --profile "$(PROFILE)" --data "$(DATA)" $(OPTIONS)

run: $(VENV)/installed ## run the notebooks of PROFILE, build nothing
	@$(BIN)/python -m prism_utils.study run --profile "$(PROFILE)" --data "$(DATA)" $(OPTIONS)

# One file's tests stay on one worker: fixtures that run the whole study are made once.
test: lint ## lint, types, unit tests, notebooks at tiny size, book build
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed ## ruff (rules, format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy prism_utils

format: $(VENV)/installed ## let ruff format and mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

benchmark: $(VENV)/installed ## time what the study does to tables and texts
	@$(BIN)/python tools/benchmark.py

# Resumes cell by cell. On a GPU machine without make: python -m prism_utils.efficiency
efficiency-record: $(VENV)/installed ## time the models' grid on this machine, into book/records
	@$(BIN)/python -m prism_utils.efficiency --out book/records

# A fresh environment takes the newest versions that pyproject.toml admits. Local builds of torch
# and its CUDA packages are left out: they differ between machines and follow from torch itself.
lock: ## make requirements.lock anew
	@rm -rf $(VENV)-lock
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install -q '.[book,dev]' hatchling editables
	@echo "# Everything the book and the tests are run with, exactly. Made by 'make lock'; do not edit." > requirements.lock
	@$(VENV)-lock/bin/python -m pip freeze --exclude prism-utils | sed 's/+[a-z0-9.]*$$//' | \
	  grep -v -i -E '^(nvidia|cuda|triton)' | LC_ALL=C sort -f >> requirements.lock
	@rm -rf $(VENV)-lock

address: $(VENV)/installed ## carry the address in _config.yml to badges, set-up cells and metadata
	@$(BIN)/python tools/address.py

clean: ## remove .venv, runs and caches
	@rm -rf $(VENV) $(VENV)-lock runs dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
