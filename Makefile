# Everything a checkout needs, on a machine with Python 3.11 to 3.13 and a C++ compiler:
#   make demo    train, prune, pack, export and serve a network; see what it gained
#   make test    the tests
# The first run makes .venv and fills it; later ones start at once.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && { echo $$p; break; }; done)
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
CSRC := $(shell find keras_compress/csrc -type f)
CLANG_FORMATTED := $(shell find keras_compress/csrc tests/kernels -name '*.cc' -o -name '*.h')
# Run from an empty folder, so that what is tested is what is installed.
PYTEST := -m pytest --rootdir $(CURDIR) -c $(CURDIR)/pyproject.toml
# Heavy packages are shared with .venv, not installed again.
SHARE = echo $(CURDIR)/$(VENV)/lib/python*/site-packages > \
	$$(echo $(1)/lib/python*/site-packages)/shared.pth

.DEFAULT_GOAL := test
.PHONY: install demo test slow lint format wheel pure compat levels sanitize examples \
	benchmarks-smoke clean

install: $(VENV)/.built

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 with venv and pip is on the \
	PATH. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.made setup.py pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt \
		setuptools wheel
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt \
		--no-build-isolation -e '.[all]'
	touch $@

$(VENV)/.built: $(VENV)/.installed $(CSRC)
	test -n "$$(find keras_compress/ops/_native.so -newer setup.py $(CSRC:%=-newer %) \
		2>/dev/null)" || $(BIN)/python setup.py -q build_ext --inplace
	@$(BIN)/python -c 'import keras_compress as kc; print(kc.native_status())' 2>$@.log \
		|| { cat $@.log >&2; exit 1; }
	touch $@

demo: install
	$(BIN)/keras-compress demo --output demo

test: install
	$(BIN)/python -m pytest -n $(WORKERS) -q

slow: install
	$(BIN)/python -m pytest -n $(WORKERS) -q --slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CLANG_FORMATTED)
	$(BIN)/pyright

format: install
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CLANG_FORMATTED)

# sdist -> wheel from the sdist -> a new environment -> tests from an empty folder.
wheel: install
	rm -rf build/wheel && mkdir -p build/wheel/empty
	$(BIN)/python -m build -q --no-isolation --sdist --outdir build/wheel .
	KERAS_COMPRESS_REQUIRE_OPS=1 KERAS_COMPRESS_WERROR=1 $(BIN)/python -m pip wheel -q \
		--no-deps --no-build-isolation -w build/wheel build/wheel/*.tar.gz
	$(BIN)/python -m venv build/wheel/venv
	$(call SHARE,build/wheel/venv)
	build/wheel/venv/bin/python -m pip install -q --no-deps --ignore-installed \
		build/wheel/*.whl
	cd build/wheel/empty && ../venv/bin/python -c 'import sys, keras_compress as kc; \
		print(kc.__file__); sys.exit("build/wheel" not in kc.__file__)' 2>/dev/null
	cd build/wheel/empty && ../venv/bin/python $(PYTEST) -n $(WORKERS) -q $(CURDIR)/tests

# A build without a compiler: the suite in plain TensorFlow.
pure: install
	rm -rf build/pure && mkdir -p build/pure/empty
	$(BIN)/python -m build -q --no-isolation --sdist --outdir build/pure .
	CC=/bin/false CXX=/bin/false $(BIN)/python -m pip wheel -q --no-deps \
		--no-build-isolation -w build/pure build/pure/*.tar.gz
	ls build/pure/*-py3-none-any.whl
	$(BIN)/python -m venv build/pure/venv
	$(call SHARE,build/pure/venv)
	build/pure/venv/bin/python -m pip install -q --no-deps --ignore-installed \
		build/pure/*.whl
	cd build/pure/empty && ../venv/bin/python $(PYTEST) -n $(WORKERS) -q -rs \
		$(CURDIR)/tests

# The wheel built beside the newest TensorFlow, under the oldest.
compat: wheel
	test -x $(VENV)-compat/bin/python || $(BIN)/python -m venv $(VENV)-compat
	$(VENV)-compat/bin/python -m pip install -q --disable-pip-version-check \
		-c constraints-tf2.18.txt tensorflow keras numpy click tabulate pytest hypothesis \
		pytest-xdist scikit-learn matplotlib
	$(VENV)-compat/bin/python -m pip install -q --no-deps --force-reinstall \
		build/wheel/*.whl
	mkdir -p build/compat && cd build/compat && \
		$(CURDIR)/$(VENV)-compat/bin/python $(PYTEST) -n $(WORKERS) -q \
		$(CURDIR)/tests/kernels $(CURDIR)/tests/integration

levels: install
	for level in $$($(BIN)/python -c 'import keras_compress as kc; print(kc.native_status() \
		.split("available: ")[1].split(")")[0].replace(",", ""))' 2>/dev/null); do \
		echo "KERAS_COMPRESS_SIMD=$$level"; KERAS_COMPRESS_SIMD=$$level \
		$(BIN)/python -m pytest -n $(WORKERS) -q tests/kernels || exit 1; done

sanitize: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/kernels/sanitize.sh

examples: install
	set -e; for file in examples/*.py; do echo "$$file"; \
		$(BIN)/python $$file --smoke; done

benchmarks-smoke: install
	set -e; for file in benchmarks/bench_*.py; do echo "$$file"; \
		$(BIN)/python $$file --smoke; done

clean:
	rm -rf build dist demo *.egg-info $(VENV) $(VENV)-compat
	rm -f keras_compress/ops/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .hypothesis
