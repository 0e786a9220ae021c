# Tautline. Each target sets up .venv itself when it is missing or out of date.
#   make demo    hear a call: relay, both simulators, one process, no accounts
#   make test    ruff, format check, mypy --strict, import contracts, pytest
#   make bench   the short benchmarks: a table, bench/bench.json and bench/bench.png, in under 3 minutes
#   make bench-compare  our relay beside others and beside its goals, in half an hour; writes docs/benchmarks
#   make run     serve with the settings of .env
#   make pins    compile requirements/*.txt anew from pyproject.toml
#   make clean   remove what the other targets made
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test bench bench-compare run pins clean
.DELETE_ON_ERROR:

demo: $(VENV)/tools.stamp
	@echo "== a call, end to end, on the built-in simulators"
	$(BIN)/tautline demo

test: $(VENV)/dev.stamp
	@echo "== ruff"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "== mypy --strict"
	$(BIN)/mypy
	@echo "== import contracts"
	$(BIN)/lint-imports
	@tests/services/install_debian_packages
	@echo "== pytest"
	$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

bench: $(VENV)/tools.stamp
	@echo "== single operations beside their budgets, and the relay beside one written plainly on trio-websocket"
	$(BIN)/python -m benchmarks.bench

bench-compare: $(VENV)/dev.stamp
	@echo "== the relay beside the ones its users would write instead, and beside its goals; half an hour"
	$(BIN)/python -m benchmarks.bench_compare --into docs/benchmarks

run: $(VENV)/runtime.stamp
	$(BIN)/tautline serve

clean:
	rm -rf $(VENV) benchmarks/baselines/node_fastify/node_modules demo bench dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian ships Python without venv: fetch that part when it is missing and we may.
$(BIN)/python:
	@echo "== creating $(VENV)"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "== installing Python's venv module"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "== installing requirements/$*.txt"
	$(PIP) install --require-hashes -r requirements/$*.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# One resolution for all three, so that what is tested is what is served.
pins: | $(BIN)/python
	$(PIP) install uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --all-extras --group dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --extra plots --group build -c requirements/dev.txt pyproject.toml -o requirements/tools.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --group build -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt
