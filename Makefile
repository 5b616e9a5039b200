# Everything a developer or a CI job types. It works on a fresh clone: without uv it brings its own.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
# uv warns about an environment that is active but is not this project's.
unexport VIRTUAL_ENV

# Asked, not only looked for: a shim on PATH may point at nothing.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)
PYTHON := .venv/bin/python
INSTALLED := .venv/.installed

MAIN_JOB := --models resnet18 resnet50 mobilenetv2_100 efficientnet_b0 --batch-sizes 1 4 8 --max-case-time 15
BENCHMARKS := start_up report recommend dashboard run_cost parity placement serving postprocessing
EXTRAS ?= cpu openvino loadgen data nncf genai openvino_genai coco ultralytics dashboard
EXPORT := $(UV) export --locked --quiet --extra cpu --no-dev --no-emit-project --no-hashes --no-annotate --no-header

define REQUIREMENTS_HEADER
# What `pip install -r requirements.txt` needs to run zoobench from a checkout: python src/benchmark.py --help
# Made from uv.lock by `make requirements`; `make lint` checks that it is in step. Do not edit.
# No hashes: with one, pip demands one of everything, so that a mirror's rebuilt wheel or a package that you
# add by hand would be refused. uv.lock holds the hashes, and `make install` checks them.
endef
export REQUIREMENTS_HEADER

.PHONY: help
help: ## Say what there is (this)
	@awk -F ' ## ' '/^[a-z]+:.* ## / { split($$1, name, ":"); printf "  make %-13s %s\n", name[1], $$2 }' Makefile

.PHONY: install
install: $(INSTALLED) ## Make .venv as uv.lock says: some minutes and 6 GB the first time (EXTRAS="cuda" for a GPU), then nothing

.PHONY: bench
bench: $(INSTALLED) ## The main job: four models at batch 1, 4, 8 on two runtimes, to RESULTS.md: under 8 minutes, and it resumes
	@status=0
	$(PYTHON) -m zoobench run $(MAIN_JOB) || status=$$?
	# A cell that failed stands in the report too; bad usage or an interruption ends here.
	[ $$status -le 1 ] || exit $$status
	$(PYTHON) -m zoobench report --results-dir results --output RESULTS.md
	exit $$status

.PHONY: quick
quick: $(INSTALLED) ## The inner loop: the tests that start no real runtime, on every CPU: under a minute
	@$(PYTHON) -m pytest -q -n auto -m "not slow and not gpu and not regression" $(ARGS)

.PHONY: test
test: lint ## What CI runs: lint and the whole suite: several minutes (ARGS="-k name" goes to pytest)
	@result=5
	part() {
		code=0
		$(PYTHON) -m pytest "$$@" $(ARGS) || code=$$?
		case $$code in 0) [ $$result != 5 ] || result=0 ;; 1) result=1 ;; 5) ;; *) exit $$code ;; esac
	}
	# Both, whatever fails in the first; 5 is pytest's word for no test, which one of them may say when ARGS names few.
	# Processes that fill the CPUs need no threads beside.
	OMP_NUM_THREADS=1 part -m "not alone and not gpu and not regression" -n auto --maxprocesses 4 --dist worksteal
	part -m "alone and not gpu and not regression"
	exit $$result

.PHONY: lint
lint: $(INSTALLED) ## ruff, strict mypy, zizmor, and whether requirements.txt is in step with uv.lock: seconds
	@$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/zizmor --offline --quiet --no-progress .github/workflows action.yml
	$(UV) lock --check --quiet
	diff <(echo "$$REQUIREMENTS_HEADER"; $(EXPORT)) requirements.txt \
		|| { echo "requirements.txt is out of step with uv.lock; run 'make requirements'" >&2; exit 1; }

.PHONY: gpu
gpu: $(INSTALLED) ## The tests that need a CUDA device: a minute
	@$(PYTHON) -m pytest -m gpu $(ARGS)

.PHONY: benchmarks
benchmarks: $(INSTALLED) ## The figures of docs/benchmarks.md, as ratios within one run: many minutes
	@for name in $(BENCHMARKS); do echo "== $$name"; $(PYTHON) benchmarks/$$name.py; done

.PHONY: proof
proof: $(INSTALLED) ## The figures of docs/proof.md: coverage, gates, power, order, whole gates on this machine: an hour and a half, quiet
	@status=0
	for name in virtual tools gates; do $(PYTHON) benchmarks/proof/$$name.py || status=$$?; done
	exit $$status

.PHONY: requirements
requirements: $(UV) ## Write requirements.txt from uv.lock: a second
	@{ echo "$$REQUIREMENTS_HEADER"; $(EXPORT); } > requirements.txt.new
	mv requirements.txt.new requirements.txt

.PHONY: clean
clean: ## Delete .venv, the tool caches and the own uv; results and artifacts stay
	@rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.git -prune -o -name __pycache__ -prune -exec rm -rf {} +

# With bytecode, which some machines are told not to write: without it importing timm takes 10 s instead of 4,
# in every worker.
$(INSTALLED): pyproject.toml uv.lock | $(UV)
	@UV_COMPILE_BYTECODE=1 $(UV) sync --locked $(EXTRAS:%=--extra %)
	touch $@

.uv/bin/uv:
	@echo "no uv here; installing one into .uv" >&2
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
