# What a contributor does here, by name; `make` alone lists it.
# A machine needs Rust and Python 3.10 or newer, and nothing else: the rest goes into .venv.

# Name another interpreter with `make test PYTHON=/path/to/python3`; more options with `make test ARGS="-k recall"`.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11 python3.10,$(shell \
	$(p) -c 'import sys; sys.version_info >= (3, 10) and print("$(p)")' 2>/dev/null)))
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Where other frameworks are installed: they are large, and each has its own opinion of versions.
WORKSHOP := .venv-integrations
SOURCES := pyproject.toml Cargo.toml $(wildcard Cargo.lock) python/Cargo.toml $(shell find src python/src)

# maturin builds into this environment, and refuses to choose when a Conda one is active as well.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport CONDA_PREFIX
export PIP_QUIET := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-integrations test-wheel coverage soak check bench docs clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/with-plot ## Index 10,000 Debian packages, search them, measure it, draw the curve
	$(BIN)/python examples/demo.py $(ARGS)

test: $(VENV)/with-test ## Run the tests: Rust, then Python
	cargo test --workspace --tests
	$(BIN)/python -m pytest $(ARGS)

test-integrations: $(VENV)/with-test | $(WORKSHOP) ## Run the suites of other frameworks, in an environment of their own
	rm -rf target/integrations
	$(BIN)/maturin build --release --interpreter $(BIN)/python --out target/integrations
	$(WORKSHOP)/bin/python -m pip install --force-reinstall --no-deps target/integrations/*.whl
	$(WORKSHOP)/bin/python -m pip install "$$(echo target/integrations/*.whl)[integrations]"
	$(WORKSHOP)/bin/python -m pytest -c tests/integrations/pytest.ini tests/integrations $(ARGS)

test-wheel: $(VENV)/with-test ## Run the Python tests on the wheel, with every Python from 3.10 on that is there
	rm -rf target/wheel
	$(BIN)/maturin build --release --interpreter $(BIN)/python --out target/wheel
	$(BIN)/maturin sdist --out target/wheel
	$(BIN)/python tests/wheel.py target/wheel $(ARGS)

coverage: $(VENV)/with-test ## Run the Python tests, and fail unless they reach 90 % of the package
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered

soak: ## Kill a writing process 1,000 times while others read; takes ten minutes
	NEARFIELD_ROUNDS=1000 cargo test --release --test store killed

check: $(VENV)/with-check ## Check form, types, stubs, documentation and licences
	cargo fmt --all --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m mypy.stubtest nearfield._core --mypy-config-file pyproject.toml
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace
	cargo test --doc --workspace
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; \
	else echo 'SKIPPED: licences and sources of the dependencies. To check them: cargo install cargo-deny'; fi

ifdef NEARFIELD_DATA
bench: $(VENV)/with-bench ## Measure against other libraries, on the data sets in NEARFIELD_DATA
	$(BIN)/python benchmarks/run.py $(ARGS)
else
bench:
	@echo 'Set NEARFIELD_DATA to a folder of data sets: make bench NEARFIELD_DATA=/path/to/data' >&2
	@echo 'What such a folder holds stands in benchmarks/README.md.' >&2
	@exit 2
endif

docs: $(VENV)/with-docs ## Build the documentation: guides and reference as a site, and the Rust core
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	cargo doc --no-deps --workspace
	@echo 'Open site/index.html, and target/doc/nearfield/index.html for the core.'

clean: ## Remove everything that the other commands made
	rm -rf $(VENV) $(WORKSHOP) target dist site examples/out python/nearfield/_core*.so .pytest_cache .mypy_cache .ruff_cache
	find python tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# with-NAME: the extension built, and the extra NAME of pyproject.toml installed. Cargo knows what has changed, so a
# second extra costs seconds; the Python files are used where they lie and never need a new build.
$(VENV)/with-%: $(SOURCES) | $(BIN)/maturin
	$(BIN)/maturin develop --release --extras $*
	@touch $@

$(WORKSHOP): | $(BIN)/maturin
	$(PYTHON) -m venv $(WORKSHOP)

$(BIN)/maturin:
	@command -v cargo >/dev/null || { \
		echo 'Nearfield needs Rust, and there is no cargo on the PATH: see https://rustup.rs' >&2; exit 1; }
	@test -n '$(PYTHON)' || { \
		echo 'Nearfield needs Python 3.10 or newer, and found none. Name one: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "Nearfield needs Python 3.10 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install 'maturin>=1.9,<2'
