# Everything a fresh machine needs is python3.11 (or newer), pip, make and git.
PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
BIN := $(VENV)/bin

.PHONY: demo test check parity bench lowest lab clean environment parity-environment browser-test

demo: environment  ## set up and do the main job on the embedded demo archive
	$(BIN)/roman-nexus demo run build/demo

test: environment  ## set up and run the tests
	$(BIN)/python -m pytest

check: environment  ## style, types, layers, change notes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

parity: environment parity-environment  ## compare every step with the mission pipeline
	$(BIN)/python tests/parity/run.py

bench: environment parity-environment  ## ours and the mission pipeline side by side
	$(BIN)/python benchmarks/exposure.py

lowest: $(VENV)-lowest/.ready  ## the tests with the oldest dependencies that we promise to work with
	NUMBA_CACHE_DIR=build/numba-lowest $(VENV)-lowest/bin/python -m pytest -W default

lab: environment  ## JupyterLab with the demo archive
	$(BIN)/python -m pip install --quiet -e ".[widgets]"
	$(BIN)/jupyter lab

environment: $(VENV)/.ready
parity-environment: $(PARITY)/.ready

$(VENV)/.ready: requirements/lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(PARITY)/.ready: requirements/parity.lock
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/parity.lock
	touch $@

$(VENV)-lowest/.ready: requirements/lowest.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/lowest.lock
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

clean:
	rm -rf build dist $(VENV) $(VENV)-lowest $(PARITY)
