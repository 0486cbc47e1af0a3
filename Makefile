# The versions that are tested here; the package itself takes wider ranges (pyproject.toml).
TORCH ?= torch==2.14.1 torchvision==0.29.1
PYTHON ?= python3
BIN := .venv/bin
# Tests of one file stay in one process; a thread each, so that processes do not wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile
# Threads that wait must sleep: spinning, they slow everything beside other work.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup demo check format test test-slow test-all browser bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

setup: .venv/ready ## make the virtual environment .venv

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[dev,imagenet,sam,grabcut,lora,serve]"
	touch .venv/ready

demo: .venv/ready ## the whole story on drawn scenes, from rotated boxes to a map, with a page to look at
	$(BIN)/geomtp demo

check: .venv/ready ## style, types, floors of the house
	$(BIN)/ruff check geomtp tests benchmarks
	$(BIN)/ruff format --check geomtp tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready ## mend the style
	$(BIN)/ruff check --fix geomtp tests benchmarks
	$(BIN)/ruff format geomtp tests benchmarks

test: .venv/ready ## the quick tests
	$(PYTEST) --maxprocesses 8

test-slow: .venv/ready ## the slow tests alone
	$(PYTEST) -m slow --maxprocesses 2  # some take 8 GB

test-all: test test-slow ## all tests

browser: ## install Chromium for the slow tests of the page (Debian and its kin, as root)
	@command -v chromium >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

bench: .venv/ready ## every benchmark, with its ratios
	$(BIN)/python -m benchmarks.rotated_ops
	$(BIN)/python -m benchmarks.data_loading
	$(BIN)/python -m benchmarks.pretrain_step --size 224
	$(BIN)/python -m benchmarks.sam_prompts --boxes 16

clean: ## remove what the targets made
	rm -rf .venv demo_run build *.egg-info
