# make demo   set up and run the main job on sample tasks: no network needed after installation
# make test   set up and run the whole test suite
# make lint   formatting, style and types
# make clean  remove the environment, the demo's store and all caches

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/installed
BIN := $(CURDIR)/$(VENV)/bin

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

$(STAMP): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): some minutes the first time"
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	mkdir -p demo
	cd demo && $(BIN)/orchestrator pretrain-source --tasks mnli,qqp,sst2 --data sample --steps 120 --eval-every 40
	cd demo && $(BIN)/orchestrator fewshot --target cb --k 16 --data sample
	cd demo && $(BIN)/orchestrator compare --target cb

# two at once, for most of a process's time is waiting; threads that wait for work leave the cores to others
test: export OMP_WAIT_POLICY := PASSIVE
test: export GOMP_SPINCOUNT := 0
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find orchestrator pipelines prompts_store tasks tests -name __pycache__ -type d -prune -exec rm -rf {} +
