# `make demo` and `make test` set everything up in .venv by themselves; the second time they start at once.

PYTHON ?= python3
VENV := .venv
CONSTRAINTS := constraints.txt
RUN := $(VENV)/bin/python
# Python compiles what it imports; to compile all that is installed takes half a minute.
PIP := $(RUN) -m pip install -qq --no-compile $(CONSTRAINTS:%=--constraint %)
ONLY ?=
JOBS ?= $(if $(ONLY),0,auto)

.PHONY: demo test nightly test-isa test-oldest test-newest lint format size bench mutate fuzz catalogue gallery docs docs-serve clean

# One stamp per extra, so that a target installs only what it needs.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; write make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.%: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(PIP) $(UPGRADE) --editable '.[$*]'
	@touch $@

demo: $(VENV)/.examples
	$(RUN) examples/compare_optimizers.py $(DEMO)

PYTEST := $(RUN) -m pytest -n $(JOBS) --dist worksteal

# ONLY=yogi: everything about one method.
test: $(VENV)/.test
	$(PYTEST) -m "not nightly" $(if $(ONLY),-k "$(ONLY)") tests

# All settings, all dtypes, long runs, killed processes; and the laws once more with the code generator that users have.
nightly: $(VENV)/.test
	$(PYTEST) -m nightly $(if $(ONLY),-k "$(ONLY)") tests
	USERS_CODE_GENERATOR=1 $(PYTEST) -m "not nightly" tests/laws

# The laws about numbers, compiled for older processors: other instructions round and reorder otherwise.
test-isa: $(VENV)/.test
	XLA_FLAGS=--xla_cpu_max_isa=AVX2 $(PYTEST) -m "not nightly" tests/laws/test_values.py tests/laws/test_boundary.py
	XLA_FLAGS=--xla_cpu_max_isa=SSE4_2 $(PYTEST) -m "not nightly" tests/laws/test_values.py tests/laws/test_boundary.py

# The same tests on the oldest JAX that is supported, and on the newest releases of everything.
test-oldest:
	@$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

NEWEST = $(shell for python in $(or $(filter-out python3,$(PYTHON)),python3.13 python3.12 python3); do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$python && break; done)

test-newest:
	@test -n "$(NEWEST)" || { echo "The newest JAX needs Python 3.12 or newer; write make test-newest PYTHON=/path/to/python3.13"; exit 1; }
	@echo "Testing with the newest releases of JAX and all else; no versions are pinned."
	@rm -f .venv-newest/.test # so that pip looks for newer releases every time
	@$(MAKE) test VENV=.venv-newest CONSTRAINTS= PYTHON=$(NEWEST) UPGRADE='--upgrade --upgrade-strategy eager'

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --warnings
	$(RUN) -m pytest -n 0 -k checker tests/test_types.py tests/test_packaging.py

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

size:
	$(PYTHON) tools/size.py

bench: $(VENV)/.test
	$(RUN) -m benchmarks.core

mutate: $(VENV)/.test
	$(RUN) -m tests.mutate

# Random compositions, of a fresh seed that is printed; FUZZ='--seconds 1800' for longer, '--seed 7 --case 12' for one.
fuzz: $(VENV)/.test
	$(RUN) -m tests.fuzz $(FUZZ)

catalogue: $(VENV)/.test
	$(RUN) -m benchmarks.catalogue

# The three pictures in out/, and each method's own in docs/, which its page shows.
gallery: $(VENV)/.examples
	$(RUN) examples/gallery.py --each docs/images/paths

# The site, in out/site; a broken link or anchor is an error. MkDocs' advertisement of its successors is not.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build

docs-serve: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs serve

clean:
	rm -rf .venv* out build *.egg-info .pytest_cache .ruff_cache
