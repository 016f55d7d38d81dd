# Set-up and the two commands of the README. Everything else is an invoke task: invoke --list
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INVOKE := $(BIN)/invoke

.PHONY: quickstart test setup check unit
quickstart: setup
	$(INVOKE) quickstart

test: check
	$(INVOKE) setup --tests
	$(BIN)/pytest

setup: $(VENV)/installed
	$(INVOKE) setup

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(VENV)/installed
	$(BIN)/pytest tests/unit

# A venv of a Debian without python3-venv lacks pip: install that package and try again.
$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); apt-get update -qq && apt-get install -y -qq python3-venv \
	       && $(PYTHON) -m venv $(VENV); } \
	  || { echo "install python3-venv, then run make again" >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes \
	  $(if $(EDGEWRIGHT_VENDOR),--no-index --find-links "$(EDGEWRIGHT_VENDOR)/python") -r requirements.txt
	touch $@
