# What a person or CI does with this checkout. Every target sets up first; the set-up is done once per change of what it installs.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# The first of these that is new enough; override with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
PYTEST_ARGS ?=
# Many tests wait, so that three processes are well employed on two cores. A part is run by one, which starts sooner.
TEST_PROCESSES ?= $(if $(PYTEST_ARGS),0,3)
BENCH_ARGS ?=
SOAK_SECONDS ?= 300
SOAK_ARGS ?=
RULES_ARGS ?=

.PHONY: help setup run test soak lint types rules bench protos docs format clean

help:
	@echo "make setup    create $(VENV) with the server, the SDK and the tools"
	@echo "make run      start the server and the example worker, run one task, serve until Ctrl-C"
	@echo "make test     the whole test suite            (PYTEST_ARGS='-k name' for a part, TEST_PROCESSES=n)"
	@echo "make soak     limits, triggers and durable runs while everything is killed (SOAK_SECONDS=300 a setting, SOAK_ARGS='-k name')"
	@echo "make lint     style, import layers, freshness of what is generated"
	@echo "make types    strict type check"
	@echo "make rules    which rules of the contract a test names (RULES_ARGS='C-8' lists the others of a section)"
	@echo "make bench    measure speed and latency       (BENCH_ARGS='--compare')"
	@echo "make protos   compile protos/ again"
	@echo "make docs     write docs/transitions.md again"
	@echo "make format   let ruff fix what it can"
	@echo "make clean    remove $(VENV) and every cache"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found; install it, or say where it is: make PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing what pyproject.toml asks for (once; it takes a minute)"
	@$(PIP) install --constraint constraints.txt --editable '.[server,dev]'
	@touch $@

run: $(STAMP)
	@$(BIN)/python scripts/run.py

test: $(STAMP)
	@# The tests start hundreds of programs; without the cache each would compile every module again.
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(TEST_PROCESSES) $(PYTEST_ARGS)

soak: $(STAMP)
	SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -s tests/chaos/test_limits_under_kills.py tests/chaos/test_durable_under_kills.py $(SOAK_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/protos.py --check
	$(BIN)/python scripts/transitions.py --check

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

protos: $(STAMP)
	$(BIN)/python scripts/protos.py

docs: $(STAMP)
	$(BIN)/python scripts/transitions.py

rules: $(STAMP)
	@$(BIN)/python scripts/rules.py $(RULES_ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
