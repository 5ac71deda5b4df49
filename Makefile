# avacast: two commands do all the set-up, `make run` and `make test`. Everything lands in .venv in this folder.

PYTHON ?= python3
# pip's words for the PyTorch build to use, for example:
#   make run TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cu130"
TORCH ?= torch==2.13.0
HOST ?= 127.0.0.1
PORT ?= 8080
# More arguments for the command at hand, for example: make test ARGS="tests/engine -k windows"
ARGS ?=

BIN := .venv/bin
# One stamp per set of packages and PyTorch build: a second `make run` installs nothing.
BUILD := $(shell printf '%s' '$(TORCH)' | cksum | cut -d ' ' -f 1)
RUN_STAMP := .venv/run-$(BUILD).stamp
DEV_STAMP := .venv/dev-$(BUILD).stamp

# Without it the working directory comes first on Python's path, and our folder `kernels` would hide the package of
# that name that transformers looks for.
export PYTHONSAFEPATH := 1

.PHONY: help run test check format pocket clean
.DEFAULT_GOAL := help

help:
	@echo 'make run      install what is needed and serve on http://$(HOST):$(PORT)'
	@echo 'make test     install the development tools too and run the tests'
	@echo 'make check    formatting, lint and types (ruff, pyright)'
	@echo 'make format   let ruff format and mend what it can'
	@echo 'make pocket   train the embedded pocket model anew (hours on two CPU cores, stops and goes on)'
	@echo 'make clean    remove .venv and what the tools left behind'
	@echo
	@echo 'PORT=9000 serves elsewhere; ARGS="..." is handed on, as in: make test ARGS="tests/engine -x"'
	@echo 'TORCH="torch==2.13.0 --index-url ..." chooses another PyTorch build, for a GPU for example'

run: $(RUN_STAMP)
	@exec $(BIN)/avacast serve --host $(HOST) --port $(PORT) $(ARGS)

# The browser tests come by themselves: they watch a live stream, and a machine busy with other tests cannot keep it up.
test: $(DEV_STAMP)
ifeq ($(strip $(ARGS)),)
	$(BIN)/pytest -m 'not slow and not browser'
	$(BIN)/pytest -m browser -n 0
else
	$(BIN)/pytest $(ARGS)
endif

check: $(DEV_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(DEV_STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pocket: $(DEV_STAMP)
	$(BIN)/avacast train pocket $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'avacast needs Python 3.11 or newer; name one with make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo 'the environment could not be made; on Debian or Ubuntu: apt install python3-venv' >&2; exit 1; }

# PyTorch comes first and alone, so that an index named in TORCH serves PyTorch only; its line in constraints.txt is
# left out of what follows, so that another version may be asked for.
define install
	rm -f .venv/*.stamp
	$(BIN)/pip install --disable-pip-version-check --no-deps $(TORCH)
	grep -v '^torch==' constraints.txt > .venv/constraints.txt
	$(BIN)/pip install --disable-pip-version-check -c .venv/constraints.txt -e '$(1)'
endef

$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(call install,.)
	touch $@

$(DEV_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(call install,.[dev])
	touch $(RUN_STAMP) $@
