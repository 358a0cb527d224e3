# `make` alone prints help. Every stage of a pipeline is a real file, so a finished stage is not run again.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

TASK ?= oja
RESULTS ?= results
VENV ?= .venv
TESTS ?= fast
WORKERS ?= auto

BIN := $(VENV)/bin
DISCOVER := $(BIN)/discover
PIPELINES := $(sort $(basename $(notdir $(wildcard pipelines/*.toml))))
FULL := $(filter-out %-smoke,$(PIPELINES))
STAGES := simulate fit search validate compare report

ifneq ($(filter $(STAGES) repro study,$(MAKECMDGOALS)),)
ifeq ($(filter $(TASK),$(PIPELINES)),)
$(error There is no pipelines/$(TASK).toml. Pipelines: $(PIPELINES))
endif
endif

# The first interpreter that is new enough and can make a virtual environment.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$python; break; }; done)

.PHONY: help
help: ## print this help
	@echo 'usage: make TARGET [TASK=oja] [PYTHON=python3.12] [RESULTS=results]'
	@echo
	@sed -n 's/^\([a-z -]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target text; do printf '  %-17s %s\n' "$$target" "$$text"; done
	@echo
	@echo '  pipelines:   $(PIPELINES)'

# ---------------------------------------------------------------------------------------------- installation

PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
RUN_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
BENCH_STAMP := $(VENV)/.installed-bench
DOCS_STAMP := $(VENV)/.installed-docs
FUZZ_STAMP := $(VENV)/.installed-fuzz

.PHONY: install dev dist
install: $(RUN_STAMP) ## make .venv with the program in it (every target does this by itself)
dev: $(DEV_STAMP) ## the same with the tools for tests and linting

dist: $(RUN_STAMP) ## a wheel of the program in dist/
	@$(BIN)/python -m pip --disable-pip-version-check --quiet wheel --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

$(RUN_STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { \
		echo 'No Python 3.11 or newer with the modules venv and ensurepip was found.' >&2; \
		echo 'Install one (Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3' >&2; \
		exit 1; }
	@test -x $(BIN)/python || { echo 'making $(VENV) with $(PYTHON)'; $(PYTHON) -m venv $(VENV); }
	@echo 'installing the program and its dependencies into $(VENV) (once, takes a minute or two)'
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@echo 'installing the tools for tests and linting'
	@$(PIP) --no-build-isolation --editable '.[dev,brian2,docs]'
	@touch $@

$(BENCH_STAMP): $(RUN_STAMP)
	@echo 'installing what the benchmarks compare with'
	@$(PIP) --no-build-isolation --editable '.[bench,brian2]'
	@touch $@

$(DOCS_STAMP): $(RUN_STAMP)
	@echo 'installing what builds the documentation'
	@$(PIP) --no-build-isolation --editable '.[docs]'
	@touch $@

$(FUZZ_STAMP): $(DEV_STAMP)
	@echo 'installing what fuzzes'
	@$(PIP) --no-build-isolation --editable '.[fuzz]'
	@touch $@

# ------------------------------------------------------------------------------------------------- pipelines
# Make decides by time stamps what may be out of date and calls the stage; the stage compares the settings, the
# inputs and the code it depends on, and only touches its file when nothing changed. Who edits pipelines/oja.toml
# and says `make oja` wants results/oja to follow: --update, without which a finished run would be left alone.

SOURCES := $(wildcard sims/*.py discover/*.py discover/*/*.py discover/*/templates/* pipelines/*.py)

.PRECIOUS: $(RESULTS)/%/trajectories.npz $(RESULTS)/%/path.json $(RESULTS)/%/front.json \
	$(RESULTS)/%/validation.json $(RESULTS)/%/comparison.json $(RESULTS)/%/report.html

$(RESULTS)/%/trajectories.npz: pipelines/%.toml $(SOURCES) $(RUN_STAMP)
	@$(DISCOVER) simulate $< --results $(RESULTS) --update
$(RESULTS)/%/path.json: $(RESULTS)/%/trajectories.npz
	@$(DISCOVER) fit pipelines/$*.toml --results $(RESULTS) --update
$(RESULTS)/%/front.json: $(RESULTS)/%/path.json
	@$(DISCOVER) search pipelines/$*.toml --results $(RESULTS) --update
$(RESULTS)/%/validation.json: $(RESULTS)/%/front.json
	@$(DISCOVER) validate pipelines/$*.toml --results $(RESULTS) --update
$(RESULTS)/%/comparison.json: $(RESULTS)/%/validation.json
	@$(DISCOVER) compare pipelines/$*.toml --results $(RESULTS) --update
$(RESULTS)/%/report.html: $(RESULTS)/%/comparison.json
	@$(DISCOVER) report pipelines/$*.toml --results $(RESULTS) --update

.PHONY: all $(FULL) $(STAGES) smoke study
oja: ## re-discover Oja's rule, from simulation to report
pca-network: ## two rules at once: Oja's and an anti-Hebbian lateral one
ica: ## one of the independent sources that inputs are mixed from (ica-uniform: light tails)
mca: ## the direction of least variance
whitening: ## two rules at once, for outputs that are uncorrelated and of unit variance
bcm: ## selectivity for one of several patterns, by rules that see a sliding threshold
pairing: ## a rule from published pairing experiments: which the data support, and what would decide
error: ## a neuron learns the potential of a teacher, by a rule that sees it
reward: ## which patterns of spikes to answer to, from rewards
bandit: ## the option that is rewarded more often, in a world that changes (bandit-still, bandit-volatile: other worlds)
bandit-null: ## the same where rewards tell nothing, and there is nothing to find
memory: ## four rules at once that keep a recurrent network stable and let it remember a stimulus
oja-null: ## a task with nothing to find, on which the program must say so
all: $(FULL) ## every pipeline (make -j2 all runs two at a time)
$(FULL): %: $(RESULTS)/%/report.html
simulate: $(RESULTS)/$(TASK)/trajectories.npz ## the stages of pipelines/$(TASK).toml, one at a time: states visited
fit: $(RESULTS)/$(TASK)/path.json ## rules along the L1 penalty
search: $(RESULTS)/$(TASK)/front.json ## Pareto front of expressions
validate: $(RESULTS)/$(TASK)/validation.json ## conditions that no candidate was fitted on
compare: $(RESULTS)/$(TASK)/comparison.json ## candidates beside the published rules
report: $(RESULTS)/$(TASK)/report.html ## one HTML file, figures beside it

smoke: $(RUN_STAMP) ## every stage at a tiny size, in under a minute
	@$(DISCOVER) run pipelines/oja-smoke.toml --results $(RESULTS) --fresh

SEEDS ?= 20
study: $(RUN_STAMP) ## the whole pipeline from many seeds, how often it names the law (TASK=oja SEEDS=20)
	@$(DISCOVER) study pipelines/$(TASK).toml --seeds $(SEEDS) --results $(RESULTS) --update

# ---------------------------------------------------------------------------------------------------- checks

.PHONY: test test-kill fuzz lint docs notebooks bench repro reference reference-studies clean distclean
test: $(DEV_STAMP) ## run the tests (TESTS=all: the slow ones too; WORKERS=4: as many processes)
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
		$(if $(filter all,$(TESTS)),,-m 'not slow')

KILLS ?= 30
test-kill: $(DEV_STAMP) ## kill runs at random moments, go on, compare (KILLS=30: about five minutes)
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python tests/kill_study.py --kills $(KILLS)

SECONDS_OF_FUZZ ?= 600
fuzz: $(FUZZ_STAMP) ## look for input that is not refused properly (SECONDS_OF_FUZZ=600 in all; finds go to tests/corpus)
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python tests/fuzz.py --seconds $(SECONDS_OF_FUZZ)

lint: $(DEV_STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(DOCS_STAMP) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebooks: $(DOCS_STAMP) ## run the notebooks of docs/notebooks again and keep their outputs
	$(BIN)/python docs/_site/notebooks.py

bench: $(BENCH_STAMP) ## speed beside JAX and hand-written kernels, into results/bench.json
	@mkdir -p $(RESULTS)
	$(BIN)/python -m benchmarks --output $(RESULTS)/bench.json

REPRODUCED := path.json front.json validation.json comparison.json
repro: $(RUN_STAMP) ## runs with one seed, on 1 and 2 threads and on Dask workers, must be equal to the byte
	@folder=$$(mktemp -d) && scheduler= worker= && \
	trap 'kill $$worker $$scheduler 2>/dev/null; wait; rm -rf "$$folder"' EXIT && \
	for threads in 1 2; do \
		$(DISCOVER) run pipelines/$(TASK)-smoke.toml --results "$$folder/$$threads" --threads $$threads || exit; \
	done && \
	for file in $(REPRODUCED); do \
		cmp "$$folder/1/$(TASK)-smoke/$$file" "$$folder/2/$(TASK)-smoke/$$file" || exit; \
		echo "identical: $$file"; \
	done && \
	if ! $(BIN)/python -c 'import distributed' 2>/dev/null; then \
		echo 'Dask: not installed, skipped'; exit; \
	fi && \
	export NUMBA_NUM_THREADS=1 && \
	{ $(BIN)/dask scheduler --host 127.0.0.1 --port 0 --no-dashboard --scheduler-file "$$folder/dask.json" \
		>"$$folder/scheduler.log" 2>&1 & scheduler=$$!; } && \
	for second in 1 2 3 4 5 6 7 8 9 10 20 30; do test -s "$$folder/dask.json" || sleep 2; done && \
	{ $(BIN)/dask worker --scheduler-file "$$folder/dask.json" --nworkers 2 --nthreads 1 --no-dashboard \
		--local-directory "$$folder" >"$$folder/worker.log" 2>&1 & worker=$$!; } && \
	$(DISCOVER) run pipelines/$(TASK)-smoke.toml --results "$$folder/dask" --threads 1 \
		--backend dask --scheduler "$$folder/dask.json" && \
	for file in $(REPRODUCED); do \
		cmp "$$folder/1/$(TASK)-smoke/$$file" "$$folder/dask/$(TASK)-smoke/$$file" || exit; \
		echo "identical on Dask: $$file"; \
	done

REFERENCE := config.json manifest.json path.json front.json front.csv validation.json comparison.json figures/front.png
WHERE_THERE := figures/learning-curves.png figures/teacher.png manifold.json figures/manifold.png figures/frequency.png \
	figures/further.png
REFERENCE_TASKS := oja pca-network ei-balance ei-coplastic ica ica-uniform mca whitening bcm pairing

reference: $(REFERENCE_TASKS:%=$(RESULTS)/%/report.html) ## renew the committed results in results/reference
	@for task in $(REFERENCE_TASKS); do \
		mkdir -p results/reference/$$task && \
		cp $(foreach file,$(REFERENCE),$(RESULTS)/$$task/$(file)) \
			$(foreach file,$(WHERE_THERE),$$(ls $(RESULTS)/$$task/$(file) 2>/dev/null)) \
			results/reference/$$task/ || exit; \
	done

reference-studies: ## copy the tables of finished studies to the committed results
	@for study in $(wildcard $(RESULTS)/studies/*/study.json); do \
		folder=$$(dirname $$study) && name=$$(basename $$folder) && mkdir -p results/reference/$$name && \
		cp $$folder/study.json $$folder/study.csv $$folder/study.md $$folder/losses.png \
			results/reference/$$name/ || exit; \
	done

clean: ## remove caches and build leftovers; results stay
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find sims discover pipelines tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## remove .venv and all runs too (results/reference stays)
	rm -rf $(VENV)
	find $(RESULTS) -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} + 2>/dev/null || true
