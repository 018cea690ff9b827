# Every command of the project; `make` alone lists them. Each sets up first what it needs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test test-all faults lint types format bench bench-pipeline bench-topk bench-recommend \
	bench-incremental bench-segments bench-imputation bench-lifetime bench-response bench-assign bench-uplift bench-policy bench-measure \
	simulate ui docs lock clean

VENV := $(or $(PROMO_SPARK_VENV),.venv)
PYTHON := $(VENV)/bin/python
PEERS := $(or $(PROMO_SPARK_PEERS),.venv-benchmarks)
export PROMO_SPARK_PEERS_PYTHON := $(PEERS)/bin/python
FAULTS := $(or $(PROMO_SPARK_FAULTS),.venv-faults)
export PROMO_SPARK_FAULTS := $(abspath $(FAULTS))
ENVIRONMENT := source scripts/environment.sh
PORT ?= 5000
# `make test ARGS="tests/unit -k calendar"`, `make run ARGS="--set as_of_date=2017-10-02"`
ARGS ?=
# `make faults FAULT_TESTS=tests/faults/test_erasure.py`
FAULT_TESTS ?= tests/faults
# Most tests wait for a driver that plans: two files at a time keep two cores busy. Each takes up to 4 GB.
WORKERS ?= 2
PYTEST = exec $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile
export PYTHONPATH := .

## this list
help:
	@awk '/^## / { text = substr($$0, 4) } \
	  /^[a-z][a-z-]*:/ && text { sub(/:.*/, ""); printf "  make %-16s %s\n", $$0, text; text = "" }' Makefile

## make what running needs: Python packages in .venv, Java, Delta's jars
setup:
	@$(ENVIRONMENT); ensure_environment requirements.txt; ensure_java; ensure_delta_jars

## the same, with the tools of a developer
setup-dev:
	@$(ENVIRONMENT); ensure_environment requirements-dev.txt; ensure_java; ensure_delta_jars

## run the whole pipeline on the embedded real data
run:
	@./spark-submit.sh jobs/pipeline.py --config conf/local.yaml $(ARGS)

## style, types, architecture, then all but the slow tests
test: lint
	@$(ENVIRONMENT); ensure_java; ensure_local_address; $(PYTEST) -m "not slow" $(ARGS)

## the same and the slow ones: whole pipelines on real data, kill -9, a two-worker cluster
test-all: lint
	@$(ENVIRONMENT); ensure_java; ensure_local_address; $(PYTEST) --hypothesis-profile=new $(ARGS)

## break things on purpose: kills, lost workers, bad files, full disks, two runs at once, erasure; a line per promise
faults: setup-dev $(FAULTS)/.ready
	@$(ENVIRONMENT); ensure_java; ensure_local_address; ensure_fault_tools; $(PYTEST) $(FAULT_TESTS) $(ARGS)

# The S3 server that tests run against has an environment of its own, as peers have.
$(FAULTS)/.ready: tests/faults/requirements.txt | setup-dev
	$(PYTHON) -m venv $(FAULTS)
	$(FAULTS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  --requirement tests/faults/requirements.txt
	@touch $@

## style, types and architecture
lint: setup-dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports

## types only
types: setup-dev
	$(PYTHON) -m mypy

## put the code in form, and mend what can be mended
format: setup-dev
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

## benchmarks beside peers
bench: bench-pipeline bench-topk bench-recommend bench-segments bench-imputation bench-lifetime bench-response \
	bench-uplift bench-policy bench-assign

## time and memory of the pipeline
bench-pipeline: setup-dev
	@$(ENVIRONMENT); ensure_java; ensure_local_address; exec $(PYTHON) benchmarks/pipeline.py $(ARGS)

## what one more day costs once many are loaded
bench-incremental: setup-dev
	@exec $(PYTHON) benchmarks/incremental.py $(ARGS)

## exact top-k lists on Spark beside peers
bench-topk: setup-dev $(PEERS)/.ready
	@$(ENVIRONMENT); ensure_java; ensure_local_address; exec $(PYTHON) benchmarks/topk.py $(ARGS)

## recommended lists against what was bought, beside peers
bench-recommend: setup-dev $(PEERS)/.ready
	@$(ENVIRONMENT); ensure_java; ensure_local_address; exec $(PYTHON) benchmarks/recommend.py $(ARGS)

## churn and spend of the next 91 days beside peers
bench-segments: setup-dev $(PEERS)/.ready
	@exec ./spark-submit.sh benchmarks/segments.py $(ARGS)

## what filling gaps is worth, method by method
bench-imputation: setup-dev
	@$(ENVIRONMENT); ensure_java; ensure_local_address; exec $(PYTHON) benchmarks/imputation.py $(ARGS)

## how often customers buy and when they leave: fits beside a peer's
bench-lifetime: setup-dev $(PEERS)/.ready
	@exec $(PYTHON) benchmarks/lifetime_value.py $(ARGS)

## budgeted assignment on Spark beside linear programming
bench-assign: setup-dev $(PEERS)/.ready
	@$(ENVIRONMENT); ensure_java; ensure_local_address; exec $(PYTHON) benchmarks/assign.py $(ARGS)

## uplift of a randomised promotion beside peers; DATA=FOLDER takes a real one
bench-uplift: setup-dev $(PEERS)/.ready
	@$(ENVIRONMENT); ensure_java; ensure_delta_jars; ensure_local_address; \
	  exec ./spark-submit.sh benchmarks/uplift.py $(if $(DATA),--data $(DATA)) $(ARGS)

## how often the safe policy falls back and personalises, and its share of the oracle's gain
bench-policy: setup-dev
	@exec $(PYTHON) benchmarks/safe_policy.py $(ARGS)

## whether intervals hold what they should and tests reject as designed, estimator by estimator
simulate: setup-dev
	@exec $(PYTHON) benchmarks/simulate.py $(ARGS)

## experiments of 100 million rows on Spark, in bounded driver memory
bench-measure: setup-dev
	@$(ENVIRONMENT); ensure_java; ensure_local_address; exec $(PYTHON) benchmarks/measure.py $(ARGS)

## who redeems a campaign's coupons, beside peers
bench-response: setup-dev $(PEERS)/.ready
	@exec ./spark-submit.sh benchmarks/response.py $(ARGS)

# Peers have an environment of their own: what they need must not move the project's packages.
$(PEERS)/.ready: benchmarks/requirements.txt | setup-dev
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  --requirement benchmarks/requirements.txt
	@touch $@

## the MLflow UI on this machine only
ui: setup
	@echo "MLflow: http://127.0.0.1:$(PORT)  (Ctrl-C ends it)"
	@exec $(PYTHON) -m mlflow ui --host 127.0.0.1 --port $(PORT) --backend-store-uri sqlite:///mlflow.db

## write the data dictionary from the contracts
docs: setup
	$(PYTHON) -m promo_spark.contracts.dictionary docs/tables.md

## resolve requirements*.in into the locks; UPGRADE=--upgrade takes newer versions
lock: setup-dev
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) -c requirements.txt requirements-dev.in -o requirements-dev.txt
	$(LOCK) benchmarks/requirements.in -o benchmarks/requirements.txt
	$(LOCK) tests/faults/requirements.in -o tests/faults/requirements.txt

LOCK = $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE)

## remove caches and build products; keeps .venv, warehouse, identity and mlflow.db
clean:
	rm -rf build dist *.egg-info spark-warehouse metastore_db derby.log
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
