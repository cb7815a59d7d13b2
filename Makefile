# One entry for people and for CI. `make` alone lists the targets. Needs python3 (3.11 or newer) with pip; nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
# Some shells export it; without bytecode every start of polydub would pay for compiling.
unexport PYTHONDONTWRITEBYTECODE
# Many processes and threads at once: numeric libraries must not start more of their own.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.made-core
DEV := $(VENV)/.made-dev
SAMPLE := build/sample
ENVIRONMENTS = $(sort $(basename $(basename $(notdir $(wildcard src/polydub/engines/locks/*.cpu.txt)))))
GENERATORS = $(wildcard scripts/*_doc.py scripts/*_schema.py scripts/docs_gen.py)
# Debian without python3-venv has no pip inside the venv: then the pip outside installs into it.
PIP = $$(if [ -x $(BIN)/pip ]; then echo "$(BIN)/python -m pip"; else echo "$(PYTHON) -m pip --python $(BIN)/python"; fi)
INSTALL = $(PIP) install -qq --disable-pip-version-check --no-input
LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)

.PHONY: help env env-dev system weights demo test test-tools test-fast test-neural fuzz check fix lock docs bench clean distclean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "polydub needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || $(PYTHON) -m venv --clear --without-pip $(VENV)

$(CORE): requirements/server.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "Installing polydub into $(VENV) (once; a minute or two) ..."
	@$(INSTALL) --require-hashes -r requirements/server.txt -r requirements/build.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q $(VENV)/lib || true
	@touch $@

$(DEV): requirements/dev.txt $(CORE)
	@echo "Installing the development tools into $(VENV) ..."
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m compileall -q $(VENV)/lib || true
	@touch $@

env: $(CORE)  ## .venv with polydub, pinned and compiled
	@$(BIN)/python -m compileall -q src

env-dev: env $(DEV)  ## the same with the tools for tests and checks

system:  ## system packages that help (Debian or Ubuntu, as root; POLYDUB_NO_APT=1 leaves them out)
	@sh scripts/system-packages.sh

demo: env system  ## make a sample film and dub it to Output/sample/dub.es.mkv
	@$(BIN)/polydub sample --json --output $(SAMPLE) >/dev/null
	@$(BIN)/polydub dub $(SAMPLE)/sample.mkv --to es --translation $(SAMPLE)/sample.es.srt
	@sh scripts/next-steps.sh $(SAMPLE)

weights: env  ## small model weights that some tests and benchmarks use (from the Python package index)
	@$(BIN)/polydub models pull resemblyzer --models build/models >/dev/null || \
		echo "resemblyzer could not be pulled: the tests that need it will be skipped" >&2

test-tools: | env-dev
	@sh scripts/test-tools.sh

test: env-dev system weights test-tools  ## every test (ARGS="-k fit" narrows)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-fast: env-dev  ## the quick tests only
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(ARGS)

test-neural: env-dev  ## the engines with environments of their own, on tiny weights (installs them all: 10 GB, 10 minutes)
	@$(BIN)/polydub engines install $(ENVIRONMENTS) --variant cpu --environments build/engines
	@$(BIN)/python -m pytest -n 2 -m neural $(ARGS)

fuzz: env-dev  ## the property tests on other examples than the usual ones
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -n auto --dist worksteal -m hypothesis $(ARGS)

check: env-dev  ## lint, format, types, generated files up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests scripts benchmarks
	$(BIN)/pyright
	@for script in $(GENERATORS); do echo "$$script --check"; $(BIN)/python $$script --check || exit 1; done

fix: env-dev  ## mend what ruff can mend
	$(BIN)/ruff check --fix src tests scripts benchmarks
	$(BIN)/ruff format src tests scripts benchmarks

docs: env-dev  ## write the generated pages and schemas anew
	@for script in $(GENERATORS); do echo "$$script"; $(BIN)/python $$script || exit 1; done

bench: env-dev system weights  ## measure speed and memory (ARGS as in benchmarks/run.py --help)
	@$(BIN)/python benchmarks/run.py $(ARGS)

lock: env-dev  ## pin the dependencies of pyproject.toml anew (UPGRADE=--upgrade takes newer releases)
	$(LOCK) pyproject.toml -o requirements/core.txt
	$(LOCK) pyproject.toml --extra server -c requirements/core.txt -o requirements/server.txt
	$(LOCK) requirements/build.in -c requirements/server.txt -o requirements/build.txt
	$(LOCK) requirements/dev.in --group dev -c requirements/server.txt -c requirements/build.txt -o requirements/dev.txt

clean:  ## remove what was built and cached; .venv and Output stay
	rm -rf build dist .ruff_cache .hypothesis
	find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## the same and .venv
	rm -rf $(VENV)
