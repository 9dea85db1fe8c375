# `make help` lists what there is. PYTHON names the interpreter that .venv is made with (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Each has servers of its own.
WORKERS ?= 2
# In an environment of its own: its boto3 and that of s3fs do not go together.
MOTO := .cache/moto

# Tests start Python a thousand times: to compile tidelog anew each time is a sixth of what a command costs.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup jars moto test demo bench check docs mutants up down clean

help:  ## This list
	@sed -nE 's/^([a-z]+):.*  ## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(STAMP)  ## A virtual environment in .venv with everything installed

# Anew when the dependencies change; the code itself is installed by links.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Fetched before the tests so that no test's time limit holds the download.
jars: setup
	@$(BIN)/python -c 'from tidelog.testing.kafka_jars import mirror_jars; mirror_jars()'
	@$(BIN)/python -c 'from tidelog.testing.kafka_classes import archive_classes; archive_classes()'

moto: $(MOTO)/.installed  ## A server that speaks S3, for the tests of exports

$(MOTO)/.installed:
	$(PYTHON) -m venv $(MOTO)
	$(MOTO)/bin/python -m pip install --quiet --disable-pip-version-check 'moto[s3]>=5.2,<6' 'flask-cors>=6'
	@touch $@

test: jars moto  ## Every test, by WORKERS processes; ARGS=tests/cli takes what pytest does, and no workers
	$(BIN)/python -m pytest $(or $(ARGS),-n $(WORKERS) --dist loadgroup)

demo: setup  ## The main job on real parts, in under three minutes; needs neither Docker nor redis-server
	$(BIN)/python -m examples.demo $(ARGS)

bench: setup  ## The benchmarks, each beside its limit
	$(BIN)/python -m benchmarks $(ARGS)

check: setup  ## Lint, format, types, and the house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy infra/stack.py docs/generate.py
	@set -- tests/test_tidy*.py; if [ -e "$$1" ]; then set -x; $(BIN)/python -m pytest -q "$$@"; fi

docs: setup  ## docs/reference, written from the code
	$(BIN)/python docs/generate.py

mutants: setup  ## Planted bugs, each of which the tests must catch
	$(BIN)/python -m tests.mutants $(ARGS)

up: setup  ## The local stack: one Kafka, three Redis, on fixed ports
	$(BIN)/python infra/stack.py up

down: setup  ## Ends the local stack; its data stay in .cache/stack
	$(BIN)/python infra/stack.py down

clean:  ## Removes what these commands made in this folder (ends the local stack first)
	@if [ -x $(BIN)/python ] && [ -e .cache/stack/servers.json ]; then $(BIN)/python infra/stack.py down; fi
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/tidelog.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
