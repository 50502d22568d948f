# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-grabber check lint install fixtures lock clean

demo: $(STAMP)
	@exec $(BIN)/fluoroguide demo

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Debian's kernel under qemu, with its virtual grabber: needs no rights, says what to install.
test-grabber: $(STAMP)
	$(BIN)/python -m pytest tests/v4l2 $(PYTEST_ARGS)

check: lint test

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@if command -v tsc >/dev/null; then tsc -p jsconfig.json; \
	elif [ "$$FLUOROGUIDE_REQUIRE_TSC" = 1 ]; then echo "tsc is missing: expected Debian's node-typescript" >&2; exit 1; \
	else echo "SKIPPED: the types of web/static; tsc is missing (Debian's node-typescript)"; fi

install: $(STAMP)

$(STAMP): pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@# Compiles the kernels for this processor, and says so.
	$(BIN)/fluoroguide --version
	@touch $@

# Renders the fixture cases again: scenario, seed and picture size of each stand in cases.txt.
fixtures: $(STAMP)
	while read -r scenario seed size; do \
	    $(BIN)/fluoroguide phantom $$scenario --seed $$seed --size $$size --out replay_fixtures/$$scenario || exit; \
	done < replay_fixtures/cases.txt

# Pins every dependency with its hashes, for all supported Pythons at once; no index address is written.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet pyproject.toml -o requirements/run.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet --extra dev pyproject.toml requirements/build.in -o requirements/dev.txt

clean:
	rm -rf $(VENV)
