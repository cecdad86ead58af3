# The two commands of the README, and what developers use. Each does its own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What builds the site is large, and no test needs it.
DOCS := .venv-docs
DOCS_STAMP := $(DOCS)/.installed
# Containers often set it, and then each of the tests' many processes compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

# What needs neither a server nor a network: the pure core, its layers, and the protocol's vectors against it.
PURE := $(addprefix tests/,hub privacy protocol test_layers.py conformance/test_core.py) -m "not long" --hypothesis-profile=fast

.PHONY: demo test test-all test-fast fuzz coverage mutate test-redis bench chaos web pictures check docs clean

demo: $(STAMP)
	@$(BIN)/jobws demo --root . $(if $(ONCE),--once)

# In several processes, each with servers of its own; ARGS="tests/cli/test_commands.py -n0" runs one file in one process.
# Without what is marked thorough, which takes minutes; test-all runs that, too.
test: $(STAMP)
	@$(BIN)/python -m pytest -rs -n auto -m "not thorough" $(ARGS)

test-all: $(STAMP)
	@JOBWS_SEEDS=400 $(BIN)/python -m pytest -rs -n auto $(ARGS)

test-fast: $(STAMP)
	@JOBWS_SEEDS=5 $(BIN)/python -m pytest -q -n0 $(PURE) $(ARGS)

# 10,000 inputs for each test of tests/fuzz, where make test tries 100.
fuzz: $(STAMP)
	@$(BIN)/python -m pytest -rs -n auto --hypothesis-profile=fuzz tests/fuzz $(ARGS)

# Every branch of hub/, privacy/ and protocol/ is taken by these tests; fails under 100 %.
coverage: $(STAMP)
	@JOBWS_SEEDS=20 $(BIN)/python -m coverage run -m pytest -q --hypothesis-seed=0 $(PURE) $(ARGS)
	@$(BIN)/python -m coverage report

# Puts 300 small faults into hub/, one at a time; fails if these tests find fewer than 90 %. ARGS="--seed 1 --mutants 50".
mutate: $(STAMP)
	@$(BIN)/python -m tests.mutants $(ARGS)

# What touches Redis, on another server than the embedded one: SERVER is a path, a name on PATH, or 6.2.
test-redis: $(STAMP)
	@JOBWS_REDIS_SERVER=$(SERVER) $(BIN)/python -m pytest -rs -n auto $(addprefix tests/,bullmq chaos conformance logs redis server) $(ARGS)

bench: $(STAMP)
	@$(BIN)/python -m tests.bench $(ARGS)

# N jobs for 20 clients of three kinds while everything breaks; SEED chooses how, ARGS="--client javascript" one kind.
chaos: $(STAMP)
	@$(BIN)/python -m tests.chaos $(if $(N),--jobs $(N)) $(if $(SEED),--seeds $(SEED)) $(ARGS)

# What browsers load: the JavaScript client and the elements, from src/jobws/web/src/, and the page, from src/jobws/web/page/.
# With esbuild and terser; needs Node and npm. The extension has copies of two.
web:
	@npm install --prefix tests/node-build --no-audit --no-fund --no-package-lock --silent
	@node tests/node-build/build.mjs src/jobws/web
	@cp src/jobws/web/jobws-all.js src/jobws/web/src/elements/progress.js web/extension/

# docs/pictures/, from the real demo in Chromium, beside a bull-board; needs Node, npm and Chromium. ARGS="--only animation" some.
pictures: $(STAMP)
	@$(BIN)/python -m tests.pictures $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell

# The site in site/, strictly: a link or an anchor that leads nowhere fails. Not --quiet, with which nothing does.
docs: $(DOCS_STAMP)
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build

$(DOCS_STAMP): pyproject.toml
	@echo "setting up $(DOCS) …"
	@$(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

$(STAMP): pyproject.toml src/jobws/web/package.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "jobws needs Python 3.11 or newer; name one with make PYTHON=…" >&2; exit 2; }
	@echo "setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group test --group check
	@touch $@

clean:
	rm -rf $(VENV) $(DOCS) site dist .mypy_cache .ruff_cache .hypothesis tests/*/node_modules tests/*/*/node_modules
