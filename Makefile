# One virtual environment for everything; each target installs what it needs and nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet

# Training uses all cores by itself: waiting threads must sleep, not spin.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help install demo run test lint bench pictures clean

help: ## what there is to do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ShelfOps needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing (on Debian: apt-get install python3-venv)." >&2; exit 1; }

$(VENV)/.run: requirements.txt | $(BIN)/python
	@echo "Installing ShelfOps into $(VENV) (about a minute the first time)"
	@$(PIP) -r requirements.txt && touch $@

$(VENV)/.demo: requirements-demo.txt $(VENV)/.run
	@$(PIP) -r requirements-demo.txt && touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@$(PIP) -r requirements-dev.txt && touch $@

install: $(VENV)/.run ## the virtual environment and what the product needs

demo: $(VENV)/.demo ## real grocery sales loaded, forecast and judged, then the site (DEMO_SERVE=0: stop after the summary)
	@$(MANAGE) demo

run: $(VENV)/.run ## site, worker and scheduler on http://127.0.0.1:8000
	@$(MANAGE) serve

test: $(VENV)/.dev ## the whole suite (DATABASE_URL chooses the database)
	@$(BIN)/python -m pytest

lint: $(VENV)/.dev ## style, types, which module imports which, missing migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MANAGE) makemigrations --check --dry-run

bench: $(VENV)/.dev $(VENV)/.demo ## speed and accuracy as README states them (needs PostgreSQL and the benchmark data)
	@$(BIN)/python -m benchmarks

pictures: $(VENV)/.dev ## README's pictures, from the demo that is there (needs chromium)
	@$(BIN)/python -m shelfops.tests.browser.pictures

clean: ## removes the virtual environment; data under var/ stays
	rm -rf $(VENV)
