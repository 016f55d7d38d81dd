# Set-up and the two commands of the README. Everything else is an invoke task: invoke --list
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INVOKE := $(BIN)/invoke
RUNS := test-deployed test-product test-others

.PHONY: quickstart test $(RUNS) setup check unit
quickstart: setup
	$(INVOKE) quickstart

# Three runs at once: an emulated device has one core busy, other tests wait for links and clocks.
# They share the machine's cache alone, whose entries are locked while they are made.
test: check
	$(INVOKE) setup --tests
	@echo "$(words $(RUNS)) runs of pytest at once; each is shown when it has ended" >&2
	$(MAKE) --no-print-directory --jobs=$(words $(RUNS)) --keep-going --output-sync $(RUNS)

test-deployed:
	$(BIN)/pytest -m deployed tests/integration

test-product:
	$(BIN)/pytest -m product tests/integration

test-others:
	$(BIN)/pytest -m "not deployed and not product" tests/unit tests

setup: $(VENV)/installed
	$(INVOKE) setup

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(VENV)/installed
	$(BIN)/pytest tests/unit

# A venv of a Debian without python3-venv lacks pip: install that package and try again.
$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); apt-get update -qq && apt-get install -y -qq python3-venv \
	       && $(PYTHON) -m venv $(VENV); } \
	  || { echo "install python3-venv, then run make again" >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes \
	  $(if $(EDGEWRIGHT_VENDOR),--no-index --find-links "$(EDGEWRIGHT_VENDOR)/python") -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-index --no-deps \
	  --no-build-isolation --editable .
	touch $@
