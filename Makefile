# The one door for people and CI. Each target does its own set-up, once, and again only when the dependencies changed.
#   make bench MODEL=resnet50 [PROFILE=smoke|quick|full] [ARGS="--slo 'p99<100ms' …"]
#   make gate MODEL=resnet50 BASELINE=baseline [ARGS="--candidates ort@local-1 …"]
# make hides exit codes; call .venv/bin/loadstone itself where they matter.

PYTHON ?= python3.11
MODEL ?= resnet50
PROFILE ?= quick
BASELINE ?= baseline
ARGS ?=
# For example PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" to get the CPU build of torch from its makers.
PIP_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) -c constraints.txt
RUN_STAMP := $(VENV)/.run-stamp
DEV_STAMP := $(VENV)/.dev-stamp

.DEFAULT_GOAL := help
.PHONY: help setup bench gate test quicktest slow lint format perf perf-peers clean

help:  ## show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(DEV_STAMP)  ## everything for running and developing, in .venv

bench: $(RUN_STAMP)  ## compile, serve, load, rank and price MODEL; leaves runs/<time>-<model>/report.html
	@$(BIN)/loadstone bench $(MODEL) --profile $(PROFILE) $(ARGS)

gate: $(RUN_STAMP)  ## compare tonight's MODEL with the version accepted in BASELINE (loadstone gate promote accepts one)
	@$(BIN)/loadstone gate $(MODEL) --baseline $(BASELINE) $(ARGS)

test: $(DEV_STAMP)  ## the tests, with real models, servers, load and browser (about 20 minutes)
	$(BIN)/python -m pytest -m "not e2e and not slow" -n auto --dist loadfile $(ARGS)
	$(BIN)/python -m pytest -m "e2e and not slow" $(ARGS)

quicktest: $(DEV_STAMP)  ## the tests that take seconds
	$(BIN)/python -m pytest -m "not e2e and not slow" -n auto --dist loadfile $(ARGS)

slow: $(DEV_STAMP)  ## the checks that are too slow for every change
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(DEV_STAMP)  ## ruff and mypy, as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV_STAMP)  ## let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

perf: $(DEV_STAMP)  ## the benchmarks behind the figures in README, to build/perf.json (nothing else may run meanwhile)
	$(BIN)/python -m tests.perf.run --out build/perf.json $(ARGS)

perf-peers: $(DEV_STAMP)  ## Loadstone beside Locust, AIPerf and LoadGen, into docs/peers.md (nothing else may run meanwhile)
	$(BIN)/python -m tests.perf.peers --json build/peers.json --page docs/peers.md $(ARGS)

clean:  ## remove .venv and build output; runs and the artifact cache stay
	rm -rf $(VENV) build *.egg-info

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Loadstone needs Python 3.11: $(PYTHON) was not found (set PYTHON=…)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up $(VENV): about 3 minutes and 2 GB, once" >&2
	$(PIP) -e '.[all]'
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@echo "adding the development tools" >&2
	$(PIP) -e '.[all,dev]'
	@touch $@
