# The targets that people and CI call; `make` lists them.

PYTEST_WORKERS ?= 2
INSTALL = python="$$(sh scheduler/embedded/find_python.sh '$(PYTHON)')" && "$$python" scheduler/embedded/install.py
IN_VENV = .venv/bin/python -m
RUN_OPTIONS = $(if $(PORT),--port $(PORT)) $(if $(SMTP_PORT),--smtp-port $(SMTP_PORT)) \
	$(if $(WORKERS),--workers $(WORKERS)) $(if $(METRICS_PORT),--metrics-port $(METRICS_PORT)) $(if $(DATA),--data '$(DATA)') $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help run audit torture soak bench bench-quick load test test-fast lint clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

run:  ## start everything locally and send a first email (PORT=8000 SMTP_PORT=1025 METRICS_PORT=9091 WORKERS=1 DATA=.local PYTHON=…)
	@$(INSTALL) requirements-local.txt
	@DEBUG=true exec .venv/bin/python -m scheduler.embedded.foreground manage.py run_local $(RUN_OPTIONS)

# The lock names the run's process: a killed run leaves its env behind.
audit:  ## prove that the books of the running local Sendonce balance (DATA=.local ARGS=--json)
	@data='$(or $(DATA),.local)'; case $$data in '~/'*) data="$$HOME$${data#?}" ;; esac; \
	if ! [ -r "$$data/env" ] || ! kill -0 "$$(cat "$$data/lock")" 2>/dev/null; then \
		echo "No local Sendonce runs in $$data; start it with make run$(if $(DATA), DATA='$(DATA)')" >&2; exit 1; fi; \
	case $$data in /*) ;; *) data="./$$data" ;; esac; \
	set -a; . "$$data/env"; exec $(IN_VENV) manage audit $(ARGS)

torture:  ## the proof: kill, cut off and lie to a whole Sendonce, then compare the books (ARGS='--seed 7'; ARGS=--help)
	@$(INSTALL) requirements-local.txt
	@DEBUG=true exec .venv/bin/python -m scheduler.embedded.foreground manage.py torture $(ARGS)

soak:  ## 30 minutes under a steady load with worker restarts; finds what grows (ARGS='--minutes 5 --rate 50'; ARGS=--help)
	@$(INSTALL) requirements-local.txt
	@DEBUG=true exec .venv/bin/python -m scheduler.embedded.foreground manage.py soak $(ARGS)

bench:  ## measure beside Celery, Dramatiq, pgqueuer, Procrastinate and stock DRF (ARGS='--only drain,mail'; ARGS=--help)
	@$(INSTALL) requirements-local.txt
	@$(INSTALL) benchmarks/peers/requirements.txt .local/peers
	@exec .venv/bin/python -m scheduler.embedded.foreground -m benchmarks $(ARGS)

bench-quick:  ## the same in three minutes: enough to see a change
	@$(MAKE) --no-print-directory bench ARGS='--quick $(ARGS)'

load:  ## post jobs to a running Sendonce and tell what became of them (ARGS='--user demo --password … --scenario burst')
	@$(INSTALL) requirements-local.txt
	@$(INSTALL) benchmarks/load/requirements.txt .local/load
	@exec .local/load/bin/python -m benchmarks.load $(ARGS)

test:  ## all tests, on servers of their own (ARGS='-k gate' picks some)
	@$(INSTALL) requirements-dev.txt
	$(IN_VENV) pytest -n $(PYTEST_WORKERS) $(ARGS)

test-fast:  ## the tests that take less than a second each
	@$(INSTALL) requirements-dev.txt
	$(IN_VENV) pytest -n $(PYTEST_WORKERS) -m "not slow" $(ARGS)

lint:  ## style, types and the floors of the house
	@$(INSTALL) requirements-dev.txt
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	.venv/bin/lint-imports
	SECRET_KEY=lint JWT_SIGNING_KEY=lint $(IN_VENV) mypy

clean:  ## remove .venv, .local (its data too!) and caches
	rm -rf .venv .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
