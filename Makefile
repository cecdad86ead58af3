# The two commands of the README, and what developers use. Each does its own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-redis bench chaos check clean

demo: $(STAMP)
	@$(BIN)/jobws demo --root . $(if $(ONCE),--once)

test: $(STAMP)
	@$(BIN)/python -m pytest -rs $(ARGS)

# What touches Redis, on another server than the embedded one: SERVER is a path, a name on PATH, or 6.2.
test-redis: $(STAMP)
	@JOBWS_REDIS_SERVER=$(SERVER) $(BIN)/python -m pytest -rs $(addprefix tests/,bullmq chaos conformance logs server) $(ARGS)

bench: $(STAMP)
	@$(BIN)/python -m tests.bench $(ARGS)

# N jobs for 20 clients of three kinds while everything breaks; SEED chooses how, ARGS="--client javascript" one kind.
chaos: $(STAMP)
	@$(BIN)/python -m tests.chaos $(if $(N),--jobs $(N)) $(if $(SEED),--seeds $(SEED)) $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "jobws needs Python 3.11 or newer; name one with make PYTHON=…" >&2; exit 2; }
	@echo "setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group test --group check
	@touch $@

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis tests/*/node_modules tests/*/*/node_modules
