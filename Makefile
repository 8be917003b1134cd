# make gate    install, then gate the quickstart's candidate against its baseline (CPU, offline)
# make test    install, then pass the tests
# make check   lint and types
# make docs    the site of docs/, in build/docs/site
# make mutants change the mathematics in 300 places and count what the tests notice: 20 minutes
VENV ?= .venv
MODEL ?= hf:suites/quickstart/models/good
BASELINE ?= hf:suites/quickstart/models/baseline
MUTANTS ?= 300
SEED ?= 0
PYTHON ?= python3
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
TEST := pytest --numprocesses 2 --dist worksteal --durations 25

# Two threads a process on shared cores are slower than one, and nothing may reach for a model hub.
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
# Without it each of the many processes of a run compiles the plugin anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: gate test check docs wheel-test mutants models schema clean

gate: $(VENV)/gate
	$(VENV)/bin/pytest suites/quickstart --rmcheck --rmcheck-model=$(MODEL) --rmcheck-baseline=$(BASELINE)

test: $(VENV)/dev
	$(VENV)/bin/$(TEST)

check: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The tests again, on the built wheel, where the checkout's own package cannot be imported by chance.
wheel-test: $(VENV)/dev
	rm -rf build/wheel && mkdir -p build/wheel/checkout
	$(VENV)/bin/python -m build --wheel --outdir build/wheel . > build/wheel/build.log
	$(VENV)/bin/twine check --strict build/wheel/*.whl
	$(VENV)/bin/check-wheel-contents build/wheel/*.whl
	$(VENV)/bin/python -m pip install --quiet --no-deps --force-reinstall build/wheel/*.whl
	git ls-files -z -- . ':!rmcheck' | xargs -0 cp --parents -t build/wheel/checkout
	if [ -d ../shared ]; then ln -s "$$(realpath ../shared)" build/wheel/shared; fi
	cd build/wheel/checkout && $(abspath $(VENV))/bin/$(TEST)
	rm -f $(VENV)/dev $(VENV)/gate

# Links out of docs/ lead to the repository there.
docs: $(VENV)/bin/python
	$(PIP) zensical
	rm -rf build/docs && mkdir -p build/docs
	cp -r docs mkdocs.yml build/docs && rm build/docs/docs/reference.py
	sed -i 's#](\.\./#](https://github.com/rmcheck/rmcheck/blob/main/#g' build/docs/docs/*.md
	cd build/docs && $(abspath $(VENV))/bin/zensical build --clean --strict

mutants: $(VENV)/dev
	$(PIP) --editable ".[mutation]"
	rm -rf build/mutants  # which tests reach which line, of an older source
	$(VENV)/bin/python -m tests.mutation --mutants $(MUTANTS) --seed $(SEED)

# Rebuilds the quickstart's pool and models from nothing.
models: $(VENV)/gate
	$(VENV)/bin/python suites/quickstart/make.py

schema: $(VENV)/gate
	$(VENV)/bin/python -m rmcheck.suite.schema

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first: a range in another package could bring another build of it.
$(VENV)/gate: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --editable ".[hf]"
	touch $@

$(VENV)/dev: $(VENV)/gate
	$(PIP) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .rmcheck .mypy_cache .pytest_cache .ruff_cache
