# Everything here needs a Python of 3.11 or later and make; the environment is .venv, remade when its inputs change.
#   make run                       set up, then ask the embedded model (PROMPT="..." asks something else)
#   make test | check | deep       the suite | linters, types, layers, documents | the long runs
#   make tour | bench | docs       every skill once | figures | the generated documents
# On Linux the package index's torch brings CUDA. Without a GPU, PyTorch's CPU build is ten times smaller:
#   make run TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
PROMPT ?= How many r's are in the word 'strawberry'?
# As typed: make would otherwise expand a $ in it.
override PROMPT := $(value PROMPT)
export PROMPT

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
INPUTS := pyproject.toml constraints.txt

.PHONY: run test deep check bench tour docs clean
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	@printf '> %s\n' "$$PROMPT" >&2
	@$(BIN)/harmonium "$$PROMPT"

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -rs -n 2 --dist loadfile

deep: $(VENV)/.test
	$(BIN)/python -m pytest -q -m deep --timeout 0 --record=benchmarks/deep.json

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m docs.generate --check

bench: $(VENV)/.installed
	@$(BIN)/harmonium bench

tour: $(VENV)/.test
	@$(BIN)/harmonium tour

docs: $(VENV)/.installed
	$(BIN)/python -m docs.generate

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Harmonium needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	@echo "Installing PyTorch into $(VENV) ..." >&2
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.installed: $(VENV)/.torch $(INPUTS)
	@echo "Installing Harmonium into $(VENV) ..." >&2
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.installed
	@echo "Installing what the tests need ..." >&2
	@$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	@$(PIP) --editable '.[dev]'
	@touch $@
