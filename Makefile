# Needs python3 (3.11 or newer) with venv, and make. Everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
SOURCES := sdk hub tests firmware_micropython examples
PRESENT := $(wildcard $(SOURCES))

.DEFAULT_GOAL := help
.PHONY: help demo test check format record bench soak firmware lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "handfast needs Python 3.11 or newer; call make PYTHON=...")'
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/made pyproject.toml constraints.txt
	@echo "installing handfast for a device, a hub and a simulated quantum link"
	@$(PIP) install --constraint constraints.txt --editable ".[device,hub,qkd]"
	@touch $@

$(VENV)/test.stamp: $(VENV)/made pyproject.toml constraints.txt
	@echo "installing handfast and what checks and tests need"
	@$(PIP) install --constraint constraints.txt --editable ".[device,feeds,flash,hub,qkd,quic,oqs,test]"
	@touch $(VENV)/run.stamp $@

# Beside the environment and not in it: they are named like modules of the standard library.
STUBS := .build/stubs
$(STUBS)/stamp: $(VENV)/test.stamp
	@rm -rf $(STUBS)
	@$(PIP) install --constraint constraints.txt --no-deps --target $(STUBS) micropython-esp32-stubs micropython-stdlib-stubs
	@touch $@

demo: $(VENV)/run.stamp ## a hub and its fleet; two hubs, a simulated quantum link and an eavesdropper
	@$(RUN) examples/demo/run.py

test: $(VENV)/test.stamp ## every test, MicroPython included
	@tests/machine_setup.sh
	@$(RUN) -m pytest --numprocesses auto --dist loadfile

check: $(VENV)/test.stamp $(STUBS)/stamp ## lint, formatting, types, and that every chip family can compile the shared files
	@$(RUN) -m ruff check $(PRESENT)
	@$(RUN) -m ruff format --check $(PRESENT)
	@$(RUN) -m mypy $(wildcard sdk hub firmware_micropython/handfast_micropython)
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(RUN) -m pyright
	@$(RUN) tests/compile_for_boards.py

format: $(VENV)/test.stamp ## put the sources into the house's format
	@$(RUN) -m ruff check --fix $(PRESENT)
	@$(RUN) -m ruff format $(PRESENT)
	@$(RUN) firmware_micropython/write_package_json.py

record: $(VENV)/test.stamp ## keep the crypto calls of the core tests for their run under MicroPython
	@rm -rf tests/vectors/replay
	@$(RUN) -m pytest --quiet --record $(wildcard tests/core tests/shell)

bench: $(VENV)/test.stamp ## the numbers of docs/benchmarks.md
	@$(RUN) tests/bench/run.py
	@$(RUN) tests/bench/board_instructions.py
	@$(RUN) tests/bench/board_onboarding.py
	@$(RUN) tests/bench/board_smallest_heap.py

soak: $(VENV)/test.stamp ## a trunk under load, 10^9 secret bits, then property and end-to-end tests: an hour, or SECONDS=...
	@$(RUN) tests/soak.py $(SECONDS)

firmware: $(VENV)/test.stamp ## the MicroPython for the tests and for an emulated board, built from source
	@$(RUN) firmware_micropython/unix/build_unix_port.py
	@$(RUN) firmware_micropython/qemu/build_qemu_port.py

lock: ## write constraints.txt anew from the newest versions
	@rm -rf .build/lock
	@$(PYTHON) -m venv .build/lock
	@.build/lock/bin/python -m pip --disable-pip-version-check --quiet install --editable ".[device,feeds,flash,hub,qkd,quic,oqs,stubs,test]"
	@{ echo "# Written by make lock; versions only, so that every package index will do."; \
	  .build/lock/bin/python -m pip --disable-pip-version-check freeze --exclude-editable; } > constraints.txt
	@echo "constraints.txt: $$(grep -c == constraints.txt) versions"

clean: ## remove everything that make made
	rm -rf $(VENV) .build .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
