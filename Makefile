# One virtual environment, .venv, with the locked dependencies and this tree in it; every target sees to it first.
# The stamps: .venv/.base (what runs callboard), .venv/.dev (what checks it), build/.linked (the tree itself).

PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11  # the first of these that is new enough is used
# Many tests wait for processes and servers of theirs: three at a time, the tests of a file behind each other.
PYTEST_ARGS ?= -n 3 --dist loadfile
VENV := .venv
BIN := $(VENV)/bin
LINKED := build/.linked
SOURCES := core backends actors bootstrap
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
PIP_COMPILE := CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options $(UPGRADE)

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1  # it would look for a newer version of itself

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install demo test lint types imports unit faults docs bench lock audit clean FORCE

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.dev $(LINKED) ## Make .venv: locked dependencies, and this tree as the package callboard

demo: $(LINKED) ## Index the standard library of your Python, by jobs on a small cluster
	@$(BIN)/python examples/library_index/run.py

# Tests that kill and time real processes can fail because a machine stands still; those that fail are told with all
# their output, and have a second run, one behind the other. Only what fails twice fails the whole. The checks run beside
# the tests, which mostly wait, and tell at the end.
test: install ## Everything: lint, types, imports, all tests; fails if any of them does
	@failed=; told="$$(mktemp)"; trap 'rm -f "$$told"' EXIT; \
	(failed=; for check in lint types imports; do nice $(MAKE) --silent $$check || failed="$$failed $$check"; done; \
		[ -z "$$failed" ] || { echo "make test: failed:$$failed"; exit 1; }) >"$$told" 2>&1 & checks=$$!; \
	$(BIN)/pytest $(PYTEST_ARGS) || { [ $$? = 1 ] && echo "make test: what failed, once more, alone:" && \
		$(BIN)/pytest --last-failed --last-failed-no-failures none -n 0; } || failed="$$failed tests"; \
	wait $$checks || failed="$$failed checks"; cat "$$told"; \
	if [ -n "$$failed" ]; then echo "make test: failed:$$failed" >&2; exit 1; fi

lint: $(VENV)/.dev ## ruff, all rules
	@$(BIN)/ruff check .

types: install ## mypy and pyright, both strict, on the installed package
	@$(BIN)/mypy -p callboard; mypy=$$?; \
	report="$$($(BIN)/pyright --stats --pythonpath $(BIN)/python)"; pyright=$$?; \
	echo "$$report" | sed '/^Loading\|^Setting\|^Auto-excluding\|^Found\|^pyright [0-9]/d; /^Completed/,$$d'; \
	case "$$report" in *"Total files checked: 0"*) echo "types: pyright found no files" >&2; exit 1;; esac; \
	[ $$mypy = 0 ] && [ $$pyright = 0 ]

imports: install ## Which part may import which (import-linter)
	@report="$$($(BIN)/lint-imports --no-logo 2>&1)" && echo "imports: as agreed" || { echo "$$report"; exit 1; }

unit: install ## The quick tests
	@$(BIN)/pytest tests/unit $(PYTEST_ARGS)

faults: install ## The tests that kill, stop and restart processes, with the full loads (about half an hour)
	@CALLBOARD_FAULTS=full $(BIN)/pytest -m faults $(PYTEST_ARGS)

docs: $(LINKED) ## Make the pages anew that are drawn from the code
	@$(BIN)/python docs/make.py

bench: $(LINKED) ## Measure: jobs/s, latency, memory
	@$(BIN)/python benchmarks/run.py

lock: $(VENV)/.dev ## Pin all dependencies anew, with hashes (UPGRADE=--upgrade takes the newest)
	@$(PIP_COMPILE) --all-build-deps --output-file requirements/base.txt setup.cfg
	@$(PIP_COMPILE) --constraint requirements/base.txt --output-file requirements/dev.txt requirements/dev.in
	@$(PIP_COMPILE) --output-file requirements/audit.txt requirements/audit.in

audit: $(VENV)/.dev ## Look the locked versions up among known vulnerabilities (needs the network; no part of test)
	@$(BIN)/python -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/audit.txt
	@$(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/base.txt -r requirements/dev.txt

clean: ## Remove .venv, builds and caches
	@rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A new lock makes a new environment, so that nothing of the old one stays in it.
$(VENV)/.base: requirements/base.txt
	@python=; for name in $(PYTHON); do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "callboard needs Python 3.11 or later; none of these is: $(strip $(PYTHON))." >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	echo "Installing the locked dependencies into $(VENV) ($$($$python --version))"; \
	rm -rf $(VENV) && $$python -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements/base.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.base
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# A strict editable install links each file when it is made: a file that came or went needs a new one, an edit does not.
$(LINKED): $(VENV)/.base $(VENV)/.sources setup.cfg pyproject.toml
	@rm -rf build
	@report="$$($(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=strict -e . 2>&1)" \
		|| { echo "$$report" >&2; exit 1; }
	@cd build && ln -s __editable__.callboard-*/callboard callboard  # for pyright, see pyproject.toml
	@touch $@

$(VENV)/.sources: $(VENV)/.base FORCE
	@find $(SOURCES) -type f ! -name '*.py[co]' | LC_ALL=C sort >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
