# tusplyr: everything a developer types. Needs python3 (3.11 or newer) and make; e2e, page and bench also node (20 or
# newer) and npm; bench also go; e2e also chromium, nginx, maven, a JDK and go.
.DEFAULT_GOAL := help
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
STAMP  := $(VENV)/.installed
PYTEST := $(BIN)/pytest
GATEWAY := .work/bin/versitygw

help:  ## list these targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements-dev.lock pyproject.toml
	@echo "installing into $(VENV), about a minute…"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

setup: $(STAMP)  ## make the virtual environment (the other targets do it too)

serve: $(STAMP)  ## run the server on http://127.0.0.1:8000/files, data in ./data
	$(BIN)/tusplyr serve

test: $(STAMP)  ## the rings that need nothing but Python: core, contracts, engine, web, commands, docs
	$(PYTEST) -m "not crash and not e2e"

lint: $(STAMP)  ## format, lint, types, rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crash: $(STAMP)  ## kill real servers between any two steps and start them again (needs strace)
	$(PYTEST) -m crash

e2e: $(STAMP) tests/e2e/js/node_modules tests/e2e/java/lib web/page/node_modules $(GATEWAY)  ## real clients, a proxy that cuts, browsers, nginx, a real S3 server (see the first lines of the Makefile)
	$(PYTEST) -m e2e

page: web/page/node_modules  ## build the page at / from web/page (needs node and npm)
	cd web/page && npm run --silent build

picture: $(STAMP) tests/e2e/js/node_modules  ## take docs/try-it.png again (needs node, npm and chromium)
	PICTURE=docs/try-it.png $(PYTEST) -m e2e -k picture tests/e2e/test_page.py

web/page/node_modules: web/page/package-lock.json
	cd web/page && npm ci
	touch $@

tests/e2e/js/node_modules: tests/e2e/js/package-lock.json
	cd tests/e2e/js && npm ci
	touch $@

$(GATEWAY):
	GOBIN=$(CURDIR)/$(@D) go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

tests/e2e/java/lib: tests/e2e/java/pom.xml
	mvn -q -B -C -f $< dependency:copy-dependencies -DoutputDirectory=lib
	touch $@

bench: $(STAMP)  ## measure us beside our peers, in turn; see bench/README.md
	$(BIN)/python -m bench run

bench-docs: $(STAMP)  ## the same, and write docs/bench.md and docs/bench.png
	$(BIN)/python -m bench run --write-docs

bench-peers: $(GATEWAY)  ## install the peers that are in registries
	bench/peers/install.sh

docs: $(STAMP)  ## write the generated pages again
	$(BIN)/tusplyr settings-reference > docs/settings.md
	PYTHONPATH=tests $(BIN)/python -m rig.conformance > docs/conformance.md

lock: $(STAMP)  ## resolve the dependencies again (needs uv)
	uv pip compile --universal --generate-hashes --no-header --quiet --upgrade pyproject.toml --extra s3 -o requirements.lock
	uv pip compile --universal --generate-hashes --no-header --quiet --upgrade pyproject.toml --group dev -o requirements-dev.lock

wheel: $(STAMP)  ## build dist/*.whl
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove everything that these targets made, but not ./data
	rm -rf $(VENV) .work dist tests/e2e/js/node_modules tests/e2e/java/lib web/page/node_modules bench/peers/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help setup serve test lint format crash e2e page picture bench bench-docs bench-peers docs lock wheel clean
