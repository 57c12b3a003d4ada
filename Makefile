# Every target works on a fresh clone with nothing but Python and make: the first one that runs
# creates .venv, once.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: train test lint docs bench native clean

train: native ## train a small force field on the embedded surface set, a few minutes
	$(RUN) -m equinet.train +experiment=oc20 trainer=cpu

test: native ## the whole test suite
	$(RUN) -m pytest -n 2

lint: $(VENV)/.installed ## style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

docs: $(VENV)/.installed ## the documentation, as HTML in docs/_build/html
	$(RUN) -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(RUN) -m sphinx -q -W -b html docs docs/_build/html

bench: native ## time the operations against each other and against e3nn
	$(RUN) -m equinet bench

native: $(VENV)/.installed ## compile the native engine in place, what has changed
	$(RUN) csrc/equinet_build.py

clean: ## remove everything that can be made again, except trained runs
	rm -rf $(VENV) build dist *.egg-info docs/_build .pytest_cache .ruff_cache .mypy_cache
	rm -f equinet/ops/native/*.so equinet/ops/native/build.json

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	# torch first, or the native engine is compiled against another copy of it
	$(RUN) -m pip install --quiet -c constraints.txt torch
	$(RUN) -m pip install --quiet -c constraints.txt -e ".[atoms,dev]"
	touch $@
