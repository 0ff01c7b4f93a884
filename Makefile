# Two commands a newcomer needs:
#   make speak TEXT="Good morning."    says it, into speech.wav
#   make test                          everything that checks this checkout
# Both make a virtual environment in .venv first; a second call finds it ready.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
TORCH  ?= torch==2.13.0
TEXT   ?= The quick brown fox jumps over the lazy dog.
OUT    ?= speech.wav

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

# Said as typed: neither make nor the shell reads anything into the text.
export LOQUOR_SAY := $(value TEXT)

.PHONY: help speak test check bench results clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -4

speak: $(VENV)/.speaks
	@$(BIN)/loquor speak -o "$(OUT)" -- "$$LOQUOR_SAY"

test: $(VENV)/.tests check

check: $(VENV)/.tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q  # two processes of one thread each: threads would only wait for each other

bench: $(VENV)/.tests
	$(BIN)/loquor bench --shape realtime-0.5b --threads 1 --threads 2

results: $(VENV)/.tests
	$(BIN)/python benchmarks/results.py $(ONLY)

clean:
	rm -rf "$(VENV)" .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

$(VENV)/.speaks: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Loquor needs Python 3.11 or later; name one: make PYTHON=python3.12")'
	@echo "installing into $(VENV) (once, some minutes) ..." >&2
	$(PYTHON) -m venv "$(VENV)"
	$(PIP) "$(TORCH)"
	$(PIP) -e .
	@touch $@

$(VENV)/.tests: $(VENV)/.speaks
	$(PIP) -e ".[dev,train,eval,podcast,data,vita,serve]"
	$(PIP) --no-deps moonshine-voice==0.0.59 silero-vad==6.2.3 speechmos==0.0.1.1 resemblyzer==0.1.4
	@touch $@
