# Two commands matter: `make demo` and `make test`. Both set up .venv from requirements.lock first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-half test-rest fast setup lint lock bench notebooks

demo: setup
	@$(BIN)/salesops run --config configs/demo.yaml

# At once, each on a core of its own: two halves that take about as long.
HALF := $(addprefix tests/,end_to_end forecasts models quality snapshots)

test: setup
	@$(MAKE) --no-print-directory -k -j2 test-half test-rest

test-half:
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(HALF)

test-rest:
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(HALF:%=--ignore=%)

# The tests that take seconds, for working on the code.
fast: setup
	$(BIN)/python -m pytest -m "not slow"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "salesops-ml needs Python 3.11 or newer; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Write requirements.lock anew: names, versions and hashes, and no address.
lock: setup
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
		--no-annotate --python-version 3.11 --extra postgres --extra spark --extra keyring --extra dev --upgrade \
		--output-file requirements.lock pyproject.toml

bench: setup
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done
