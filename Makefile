# Two commands: `make quickstart` and `make test`. Everything runs in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help quickstart test quick times mutants faults gradients house docs lint format install

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

quickstart: .venv/.runs  ## install into .venv and run the main job on the embedded corpus
	$(BIN)/python -m lit_distill run quickstart

test: .venv/.tests  ## run the test suite, on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal

quick: .venv/.tests  ## run what takes no run: most tests, in under a minute
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not run and not rotated and not faults and not slow"

times: .venv/.tests  ## write down what takes how long, for the two above: tests/times.json
	$(BIN)/python -m pytest -n 2 --dist worksteal --times

mutants: .venv/.tests  ## plant every bug of tests/planted; a test must turn red
	$(BIN)/python -m pytest -m "" -n 2 --dist worksteal tests/test_mutants.py

faults: .venv/.tests  ## kill, fill, lock and corrupt runs in a hundred ways; writes docs/faults.md
	$(BIN)/python -m pytest -m "" tests/faults --table docs/faults.md

gradients: .venv/.tests  ## compare gradients over ranks, accumulation, sharding; writes docs/gradients.md
	$(BIN)/python -m pytest --every-day tests/test_every_method.py -k gradient --equalities docs/gradients.md

house: .venv/.tests  ## draw the rooms of the project and who imports whom; writes docs/house.png
	$(BIN)/python tests/support/house_picture.py docs/house.png

docs: .venv/.docs  ## build the documentation as a site, into build/site; broken links fail
	PYTHONPATH=. $(BIN)/python docs/site/site_build.py build/site

lint: .venv/.dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev  ## format the code and apply safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: .venv/.dev  ## install everything a developer needs

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The stamps say what is installed. torch first and pinned: a range would fetch another build.
.venv/.runs: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .[evaluate]
	touch $@

.venv/.tests: .venv/.runs
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .[test]
	touch $@

.venv/.docs: .venv/.runs
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .[docs]
	touch $@

.venv/.dev: .venv/.tests
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .[test,dev]
	touch $@
