# Every target works on a fresh clone with nothing but Python and make: the first one that runs
# creates .venv, once.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: train test soak test-lowest audit mutants lint docs bench native portable clean

train: native ## train a small force field on the embedded surface set, a few minutes
	$(RUN) -m equinet.train +experiment=oc20 trainer=cpu

# Processes that tests start compile the package once, not each of them, since bytecode is written.
test: native ## the test suite but for what takes longest, which is part of the soak
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest -n 2 -m "not slow"

# One part or several: make soak PARTS="kills fuzz"; fewer cases: make soak FRACTION=0.05
PARTS ?=
FRACTION ?= 1
SEED ?= 0
soak: native ## kills, damaged files, full disks, load, processes and slow tests, up to an hour
	PYTHONPATH=$(CURDIR)/tests OMP_NUM_THREADS=1 $(RUN) -m soak $(PARTS) --fraction $(FRACTION) --seed $(SEED)

LOWEST := build/lowest
test-lowest: native ## the test suite with the lowest release of every dependency but torch
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(RUN) .ci/lowest.py > $(LOWEST)/requirements.txt
	$(LOWEST)/bin/python -m pip install --quiet -r $(LOWEST)/requirements.txt
	# Old releases warn of what newer ones have changed, and jaxtyping checks no shapes of packages
	# that conftest.py has imported.
	PYTHONPATH=$(CURDIR) OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= \
		$(LOWEST)/bin/python -m pytest -n 2 -m "not slow" -p no:cacheprovider \
		-W ignore::DeprecationWarning -W ignore::FutureWarning \
		-W "ignore:The TorchScript type system:UserWarning" \
		-o addopts="-q --strict-markers --import-mode=importlib"

AUDIT := build/audit
audit: $(VENV)/.installed ## known weaknesses of what is installed
	test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet pip-audit
	$(AUDIT)/bin/python -m pip_audit --path $$($(RUN) -c "import sysconfig; print(sysconfig.get_path('purelib'))") \
		--skip-editable --strict

lint: $(VENV)/.installed ## style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

docs: $(VENV)/.installed ## the documentation, as HTML in docs/_build/html
	$(RUN) -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(RUN) -m sphinx -q -W -b html docs docs/_build/html

bench: native ## time the operations against each other and against e3nn
	$(RUN) -m equinet bench

mutants: native ## put small faults into the code and count how many the tests find
	$(RUN) tests/mutants

native: $(VENV)/.installed ## compile the native engine in place, what has changed
	$(RUN) csrc/equinet_build.py

portable: $(VENV)/.installed ## compile the native engine for macOS and Windows, as a check, what has changed
	$(RUN) -m pip install --quiet -c constraints.txt -e ".[portable]"
	$(RUN) csrc/equinet_portable.py

clean: ## remove everything that can be made again, except trained runs
	rm -rf $(VENV) build dist *.egg-info docs/_build .pytest_cache .ruff_cache .mypy_cache
	rm -f equinet/ops/native/*.so equinet/ops/native/build.json

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	# torch first, or the native engine is compiled against another copy of it
	$(RUN) -m pip install --quiet -c constraints.txt torch
	$(RUN) -m pip install --quiet -c constraints.txt -e ".[atoms,dev]"
	touch $@
