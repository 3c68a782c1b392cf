# `make demo` and `make test` set everything up in .venv by themselves; the second time they start at once.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
JOBS ?= auto

.PHONY: demo test test-slow lint format size bench mutate catalogue gallery clean

# One stamp per extra, so that a target installs only what it needs.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; write make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip

$(VENV)/.%: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --editable '.[$*]'
	touch $@

demo: $(VENV)/.examples
	$(RUN) examples/compare_optimizers.py $(DEMO)

PYTEST := $(RUN) -m pytest -n $(JOBS) --dist loadgroup

test: $(VENV)/.test
	$(PYTEST) -m "not slow" tests

# The slow ones; the laws that double precision could break, once more with it on everywhere; and those about equal bits,
# the slow ones only with the code generator that users have (see tests/conftest.py).
test-slow: $(VENV)/.test
	$(PYTEST) -m slow tests -k "not (test_laws and ($(BITS)))"
	JAX_ENABLE_X64=1 $(PYTEST) tests/test_laws.py -m "not slow" -k "$(X64)"
	USERS_CODE_GENERATOR=1 $(PYTEST) tests/test_laws.py -k "$(BITS)"

BITS := to_the_bit or scan_equals_loop
X64 := state_keeps or abstract_init or dtypes or scan or vmap or step_is or float0 or chain

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --warnings

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

size:
	$(PYTHON) tools/size.py

bench: $(VENV)/.test
	$(RUN) -m benchmarks.core

mutate: $(VENV)/.test
	$(RUN) -m tests.mutate

catalogue: $(VENV)/.test
	$(RUN) -m benchmarks.catalogue

gallery: $(VENV)/.examples
	$(RUN) examples/gallery.py

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .ruff_cache
