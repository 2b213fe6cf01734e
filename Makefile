# One environment in .venv. A stamp in it says what was installed, so that a second call costs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e .
PINS := pyproject.toml constraints.txt

# Compiled modules are kept: the tests start many processes, and each would compile every library again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup quickstart test test-all check table families docs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.run ## make .venv and install the package, editable, at the versions of constraints.txt

quickstart: $(VENV)/.run ## set up, then compare GLoRA with LoRA on embedded images: no data, weights or GPU needed
	$(BIN)/glorabench run experiment=quickstart

test: $(VENV)/.dev ## set up, then run the tests in two processes; ARGS="-k glora" chooses
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal $(ARGS)

test-all: $(VENV)/.dev ## the tests, and what is slow and rare (CONTRIBUTING.md names it); about an hour
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "" $(ARGS)

check: $(VENV)/.dev ## lint, formatting, types, who may import whom, and the links of all pages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/pytest tests/test_links.py

table: $(VENV)/.run ## rewrite the tables of README.md, results/ and docs/ from the committed records and the code
	$(BIN)/glorabench table mini --results results/quickstart --long --into README.md#quickstart
	$(BIN)/glorabench table mini --results results --into results/mini/README.md
	$(BIN)/glorabench compare mini --results results method=lora method.rank=8 method=glora search=null --into results/mini/README.md#random
	$(BIN)/glorabench compare mini --results results method=lora method.rank=8 method=glora search=evolution --into results/mini/README.md#searched
	$(BIN)/glorabench compare mini --results results method=lora method.rank=3 method=glora search=null --into results/mini/README.md#layers
	$(BIN)/glorabench compare mini --results results method=lora method.rank=3 method=glora search=evolution --into results/mini/README.md#layers_searched
	$(BIN)/glorabench compare mini --results results method=lora method.rank=3 method=lora method.rank=8 --into results/mini/README.md#lora
	$(BIN)/glorabench compare mini --results results method=glora search=evolution method=glora search=null --into results/mini/README.md#search
	$(BIN)/glorabench cost mini --results results --into results/mini/README.md --figures results/mini
	$(BIN)/glorabench forgetting mini --results results --into results/mini/README.md
	$(BIN)/glorabench tuned mini --results results/tuning --into results/mini/README.md
	$(BIN)/glorabench tuned mini --results results/tuning/lora_all --into results/mini/README.md#layers
	$(BIN)/glorabench optimism mini --results results/tuning --into results/mini/README.md
	$(BIN)/glorabench report mini --results results --out results/mini/report.html
	$(BIN)/glorabench table mini --results results/pretraining --into results/pretraining/README.md
	$(BIN)/glorabench table mini_text --results results/pretraining_text --into results/pretraining_text/README.md
	$(BIN)/glorabench table mini_text --results results/quickstart_text --long --into docs/text.md#quickstart_text
	$(BIN)/glorabench table mini --results results/methods --long --into results/methods/README.md
	$(BIN)/glorabench page glora --results results/glora
	$(BIN)/glorabench count --into docs/counts.md
	$(BIN)/python benchmarks/text_counters.py --into docs/text.md

docs: $(VENV)/.docs ## write the site of all pages and the API into build/site; the same pages give the same bytes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean --quiet
	@echo "build/site/index.html; with search: python3 -m http.server --directory build/site"

families: $(VENV)/.run ## rewrite the table of docs/backbones.md: every method in twenty families, some minutes
	$(BIN)/glorabench backbone --into docs/backbones.md

$(VENV)/.run: $(PINS) | $(BIN)/uv
	$(INSTALL)
	@touch $@

$(VENV)/.dev: $(PINS) | $(BIN)/uv
	$(INSTALL) --group dev
	@touch $(VENV)/.run $@

$(VENV)/.docs: $(PINS) | $(BIN)/uv
	$(INSTALL) --group docs
	@touch $(VENV)/.run $@

# uv, because it resolves in seconds; into .venv, because nothing outside it is ours to change.
$(BIN)/uv:
	@command -v $(PYTHON) >/dev/null || { echo "no '$(PYTHON)' on PATH: install Python 3.11 or newer, or give one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "glorabench needs Python 3.11 or newer; this is $$($(PYTHON) --version 2>&1). Give another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
