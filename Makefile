# Colophon. `make` lists what there is to do. Written for GNU make 3.81 and newer, which is macOS's.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A command of its own for those who know Poetry by another name: make lock POETRY=...
POETRY ?= poetry
export POETRY PYTHON

# Today's Docker, or the docker-compose of before.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

# A file is run by one process, which takes the longest first: tests/durations.json.
IN_PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target what; do \
		printf '  make %-12s %s\n' "$$target" "$$what"; done

.PHONY: run
run: environment ## Start the whole catalogue on this machine, database included; Ctrl-C stops it
	@.venv/bin/colophon run

.PHONY: test
test: test-environment ## Run the tests against private PostgreSQL, Redis and RabbitMQ; what is long by nature in a short form
	@tools/ensure-test-servers
	@.venv/bin/pytest -m 'not slow' $(IN_PARALLEL)

.PHONY: test-slow
test-slow: test-environment ## Run the long forms of what is long by nature
	@tools/ensure-test-servers javac go
	@.venv/bin/pytest -m slow $(IN_PARALLEL)

.PHONY: test-all
test-all: test test-slow ## Run all tests, the long ones too

.PHONY: test-budget
test-budget: test-environment ## Hold the tests of the last run to five seconds each, but for those that are long by nature
	@PYTHONPATH=tests .venv/bin/python tools/check_durations.py

.PHONY: test-unit
test-unit: test-environment ## Run the tests that need no server
	@.venv/bin/pytest -m 'not server and not slow'

.PHONY: test-compose
test-compose: test-environment ## Build the images, test the whole system in containers and take it down again (needs Docker)
	@.venv/bin/pytest -m compose tests/compose

.PHONY: test-faults
test-faults: test-environment ## Kill and cut off everything a hundred times while it works; FAULT_SEED=... repeats a run
	@tools/ensure-test-servers
	@.venv/bin/pytest -m faults -s tests/faults

.PHONY: bench
bench: test-environment ## Measure the catalogue beside its baselines, on servers of its own; BENCH="--only relay" a part
	@tools/ensure-test-servers wrk h2load redis-benchmark
	@PYTHONPATH=tests .venv/bin/python -m benchmarks $(BENCH)

.PHONY: bench-quick
bench-quick: test-environment ## The same in two minutes, to see that all of it runs
	@tools/ensure-test-servers wrk h2load redis-benchmark
	@PYTHONPATH=tests .venv/bin/python -m benchmarks --quick

.PHONY: up
up: ## Start the whole system in containers (needs Docker); .env.example tells what can be changed
	@$(COMPOSE) up -d --build && $(COMPOSE) ps

.PHONY: down
down: ## Stop the containers of `make up`; the data stay
	@$(COMPOSE) down

.PHONY: check
check: test-environment ## Format, lint, types, imports, contracts, generated code, requirements, migrations
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	tools/check-types
	.venv/bin/lint-imports
	tools/check-contracts
	.venv/bin/pytest -q tests/test_requirements.py
	.venv/bin/python tools/check_migrations.py

.PHONY: audit
audit: ## Ask PyPI's advisories for known holes in what is pinned
	@tools/audit-requirements

.PHONY: pin-images
pin-images: ## Put the digest behind the tag of each image of others, or renew it (needs Docker and its registry)
	@"$${PYTHON:-python3}" tools/pin_images.py

.PHONY: findings
findings: ## Run what is in findings/ (needs a package index), and say which of it is no longer so
	@status=0; for each in findings/*.sh; do echo "$$each"; "$$each" || { echo "$$each is no longer so" >&2; status=1; }; \
		done; exit $$status

.PHONY: format
format: test-environment ## Format the code and the contracts, and mend what ruff can mend
	.venv/bin/ruff check --fix-only
	.venv/bin/ruff format
	.venv/bin/buf format --write

.PHONY: generate
generate: test-environment ## Generate the Python code and the AsyncAPI document from the contracts
	PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/buf generate
	.venv/bin/python tools/generate_asyncapi.py

.PHONY: migrate
migrate: environment ## Bring the database named by DATABASE_URL to the newest schema
	@.venv/bin/book-db upgrade

.PHONY: lock
lock: ## Resolve the dependencies anew (needs Poetry) and write poetry.lock and the requirements files
	"$$POETRY" lock
	"$${PYTHON:-python3}" tools/export_requirements.py

.PHONY: clean
clean: ## Remove the environment and all caches; the data in .data stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist tests/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: environment
environment:
	@tools/ensure-environment requirements.txt

.PHONY: test-environment
test-environment:
	@tools/ensure-environment requirements-dev.txt
