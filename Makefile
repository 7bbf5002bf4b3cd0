# Every target makes what it needs: each works alone on a machine with Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
IMAGE ?=
OUT ?= out/demo
FUZZ_SECONDS ?= 60
STUDIES ?= ../shared/data/openi/studies.csv

export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM = false

.PHONY: install demo test check docs benchmark peers fuzz clean

install: .venv/.test

.venv/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11')"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -c constraints.txt
	@touch $@

.venv/.test: .venv/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]' -c constraints.txt
	@touch $@

demo: .venv/.core
	OMP_NUM_THREADS=2 $(BIN)/cyclicxr demo $(if $(IMAGE),"$(IMAGE)") --out "$(OUT)"

test: .venv/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

check: .venv/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python benchmarks/write.py --check

docs: .venv/.test
	$(BIN)/python docs/generate.py

benchmark: .venv/.test
	$(BIN)/python benchmarks/report_speed.py
	$(BIN)/python benchmarks/generation.py
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/maxsim.py
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/encoder_cost.py
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/match_step.py
	$(BIN)/python benchmarks/loader_speed.py
	$(BIN)/python benchmarks/mimic_rows.py
	$(BIN)/python benchmarks/evaluate_openi.py "$(STUDIES)"
	$(BIN)/python benchmarks/consistency.py "$(STUDIES)"
	$(BIN)/python benchmarks/grounding.py
	$(BIN)/python benchmarks/consensus.py "$(STUDIES)"
	$(BIN)/python benchmarks/burnt_in_text.py "$(STUDIES)"
	$(BIN)/python benchmarks/frontal_gate.py "$(dir $(STUDIES))"
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/image_metrics.py
	$(BIN)/python benchmarks/report_metrics.py "$(STUDIES)"
	$(BIN)/python benchmarks/labeler.py "$(STUDIES)"
	$(BIN)/python benchmarks/write.py
	$(BIN)/python docs/generate.py

peers: .venv/.test
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/peers.py "$(STUDIES)"
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/peers.py "$(STUDIES)" --sweep
	$(BIN)/python benchmarks/write.py

fuzz: .venv/.fuzz
	$(BIN)/python fuzz/films.py out/fuzz/films
	mkdir -p out/fuzz/corpus
	$(BIN)/python fuzz/fuzz_films.py out/fuzz/corpus out/fuzz/films -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -artifact_prefix=out/fuzz/
	$(BIN)/python -m pytest -n 2 -q --hypothesis-profile=fuzz --timeout 3600 -m "not slow"

.venv/.fuzz: .venv/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]' -c constraints.txt
	@touch $@

clean:
	rm -rf .venv out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
