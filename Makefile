# Everything that a person runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON3 ?= python3
PYTHON := .venv/bin/python
UV := .tools/bin/uv
ENVIRONMENTS := $(PYTHON) -m egoworld_resources

# One cache for all envs, on the partition of the envs, so that they share files by hardlinks.
export UV_CACHE_DIR ?= $(CURDIR)/data/uv-cache
export UV_PYTHON_DOWNLOADS := never

# A site's own certificate authority is known to the system only.
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(CERTIFICATES),)
export UV_SYSTEM_CERTS ?= true
export PIP_CERT ?= $(CERTIFICATES)
endif
export VIDEO

# Everything here starts Python many times: what was compiled once stays compiled, also in images that say otherwise.
unexport PYTHONDONTWRITEBYTECODE

# Tests wait for servers and daemons more than they compute: one more at a time than there are cores. Long files come first.
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))
PYTEST = $(PYTHON) -m pytest -n $(WORKERS) --no-loadscope-reorder

# What the wheels need from the system beyond Python (found with ldd), and the Debian package that has it.
define CHECK_SYSTEM
import ctypes, importlib.util, sys
if not (3, 11) <= sys.version_info[:2] < (3, 13):
    sys.exit("egoworld needs Python 3.11 or 3.12, %s is %d.%d; name another: make PYTHON3=/path/to/python3.11" % (sys.executable, *sys.version_info[:2]))
needed = {"libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1", "libz.so.1": "zlib1g", "libudev.so.1": "libudev1"}
missing = []
for library, package in needed.items():
    try:
        ctypes.CDLL(library)
    except OSError:
        missing.append(package)
if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
    missing.append("python3-venv")
if missing and "--packages" in sys.argv:
    print(" ".join(missing))
elif missing:
    sys.exit("This system lacks libraries that egoworld needs. One line installs them; then run make again:\n\n    sudo apt-get install -y " + " ".join(missing) + "\n")
endef
export CHECK_SYSTEM

# VIDEO may be one file, folder or glob whose name has spaces, or several words quoted as in a shell.
define SPLIT_VIDEO
import glob, os, shlex, sys
given = os.environ["VIDEO"].strip()
words = [given] if os.path.exists(given) or glob.glob(given) else shlex.split(given)
sys.stdout.write("".join(word + "\0" for word in words))
endef
export SPLIT_VIDEO

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

.PHONY: setup
setup: .venv/.ready ## fetch uv and make our own interpreter from its lock

.PHONY: demo
demo: setup ## run the whole graph on a sample, or on yours: VIDEO="a.mp4 'b c.mp4' folder *.mp4"
	@videos=()
	if [ -n "$${VIDEO:-}" ]; then mapfile -d '' videos < <($(PYTHON) -c "$$SPLIT_VIDEO"); fi
	.venv/bin/egoworld demo "$${videos[@]}"

.PHONY: ui
ui: setup ## open the Dagster UI on what was made
	@.venv/bin/egoworld ui

.PHONY: up
up: setup ## start the server: Postgres, S3, Dagster, proxy, each asked whether it works
	@$(PYTHON) -m egoworld_resources.server up

.PHONY: down
down: setup ## stop the server; nothing is lost
	@$(PYTHON) -m egoworld_resources.server down

.PHONY: ps
ps: setup ## what of the server runs, where, and how healthy
	@$(PYTHON) -m egoworld_resources.server ps

.PHONY: backup
backup: setup ## copy the server while it runs, only what is new: TO=folder (KEEP=n keeps n backups)
	@if [ -z "$(TO)" ]; then echo "name a folder on another disk: make backup TO=/mnt/backups/egoworld" >&2; exit 1; fi
	$(PYTHON) -m egoworld_resources.server backup "$(TO)" $(if $(KEEP),--keep $(KEEP))

.PHONY: restore
restore: setup ## make the server again from a backup, then make up: FROM=folder (AT=name ONLY=postgres|buckets FORCE=1)
	@if [ -z "$(FROM)" ]; then echo "name the folder that was backed up to: make restore FROM=/mnt/backups/egoworld" >&2; exit 1; fi
	$(PYTHON) -m egoworld_resources.server restore "$(FROM)" $(if $(AT),--at "$(AT)") $(if $(ONLY),--only $(ONLY)) $(if $(FORCE),--force)

.PHONY: envs
envs: setup ## build every model env from its lock
	@$(ENVIRONMENTS) build

.PHONY: test
test: envs ## build every model env and the servers of the tests, run the tests: ARGS="-k masks" WORKERS=0 (in one process)
	@$(PYTHON) -m egoworld_resources.server tools >/dev/null
	$(PYTEST) $(ARGS)

.PHONY: quick
quick: setup ## the tests that need neither server nor model env nor data, in less than a minute: ARGS="-k masks"
	@$(PYTEST) tests/unit $(ARGS)

.PHONY: torture
torture: envs ## the tests of random faults at full length, of which `make test` runs a sample: FAULT_SEED=n
	@$(PYTHON) -m egoworld_resources.server tools >/dev/null
	TORTURE=1 $(PYTEST) -m torture $(ARGS)

.PHONY: attack
attack: envs ## attack a server of its own and break the machine under it: a table of what held and what broke
	@$(PYTHON) -m egoworld_resources.server tools >/dev/null
	$(PYTEST) tests/attack --durations=5 $(ARGS)

.PHONY: accuracy
accuracy: envs ## measure every stage against what is true, write its table; fails when a bound is broken
	@$(PYTHON) -m tests.accuracy --write

.PHONY: check
check: setup ## what CI asks besides the tests: lint, format, types, import directions, architecture, policy of envs
	@set -x
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright
	.venv/bin/lint-imports --no-logo
	$(PYTHON) -m pytest tests/architecture --durations=0
	.venv/bin/egoworld env check
	$(ENVIRONMENTS) audit

.PHONY: bench
bench: envs ## measure egoworld against bare tools, table into tests/benchmarks; ARGS="c g" measures and prints some of it
	@$(PYTHON) -m tests.benchmarks $(if $(ARGS),$(ARGS),--write)

.PHONY: fmt
fmt: setup ## format the code and fix what can be fixed mechanically
	@.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

.PHONY: lock
lock: setup ## compile the lock of one model env: ENV=mediapipe (base: our own interpreter; UPGRADE=1: newest that fit)
	@if [ -z "$(ENV)" ]; then echo "name the model env: make lock ENV=$$(cd envs && ls -d */pyproject.toml | cut -d/ -f1 | grep -v runner | paste -sd'|')" >&2; exit 1; fi
	$(ENVIRONMENTS) lock $(ENV) $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## remove uv, our interpreter, the model envs and tool caches; videos, artifacts and uv's cache stay
	@rm -rf .tools .venv data/envs .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './data/*' -prune -exec rm -rf {} +

.PHONY: missing-packages
missing-packages:
	@$(PYTHON3) -c "$$CHECK_SYSTEM" --packages

.PHONY: uv-is-gone
# Fetched again too when uv itself is gone or cannot be started, whatever .tools/.ready says.
.tools/.ready: locks/uv.txt $(if $(shell test -x $(UV) && echo there),,uv-is-gone)
	@$(PYTHON3) -c "$$CHECK_SYSTEM"
	echo "fetching uv ..."
	rm -rf .tools
	$(PYTHON3) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
	touch $@

# Made beside and then renamed, so that an interrupted make leaves no half of an interpreter.
.venv/.ready: locks/pylock.dev.toml pyproject.toml envs/runner/pyproject.toml | .tools/.ready
	@$(PYTHON3) -c "$$CHECK_SYSTEM"
	echo "making our own interpreter ..."
	rm -rf .tools/venv
	$(UV) venv --quiet --relocatable --python "$$($(PYTHON3) -c 'import sys; print(sys.executable)')" .tools/venv
	$(UV) pip sync --quiet --python .tools/venv/bin/python --only-binary :all: locks/pylock.dev.toml
	$(UV) pip install --quiet --python .tools/venv/bin/python --no-deps --no-build-isolation --offline -e . -e envs/runner
	# Relative paths: Python reads these files in the encoding of the locale, and a checkout may lie below any name.
	cd .tools/venv/lib/python3.*/site-packages
	printf '../../../..\n../../../../resources\n' > _egoworld.pth
	printf '../../../../envs/runner\n' > _editable_impl_egoworld_runner.pth
	cd - > /dev/null
	# Compiled now: Dagster is imported by every run, and model processes may not write where they import from.
	.tools/venv/bin/python -m compileall -q -j 0 -x '/(tests?|pip|pygments)/' .tools/venv/lib > /dev/null || true
	rm -rf .venv
	mv .tools/venv .venv
	touch $@
