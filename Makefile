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
PIP := -m pip --disable-pip-version-check -q
# A folder with all but the package, so that what is tested is what is installed.
EMPTY = rm -rf $(1) && mkdir -p $(1) && cp -r tests examples docs *.md pyproject.toml $(1)
# An environment for a wheel that shares the heavy packages of .venv.
ENVIRONMENT = $(BIN)/python -m venv $(1) && \
	echo $(CURDIR)/$(VENV)/lib/python*/site-packages > \
		$$(echo $(1)/lib/python*/site-packages)/shared.pth && \
	$(1)/bin/python $(PIP) install --no-deps --ignore-installed $(2) && \
	$(call STATUS,$(1),$(3))
# What runs in an environment: its own copy of the package, and with these native ops.
STATUS = cd build && $(CURDIR)/$(1)/bin/python -W ignore -c 'import sys, keras_compress as kc; \
	print(kc.native_status()); \
	sys.exit("$(1)/" not in kc.__file__ or "$(2)" not in kc.native_status())'

.DEFAULT_GOAL := test
.PHONY: install demo test slow accuracy lint format wheel pure compat levels sanitize examples \
	benchmarks-smoke clean

install: $(VENV)/.built

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 with venv and pip is on the \
	PATH. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.made setup.py pyproject.toml constraints.txt
	$(BIN)/python $(PIP) install -c constraints.txt \
		setuptools wheel
	$(BIN)/python $(PIP) install -c constraints.txt \
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

# The demo's promise on MNIST, where TFDS_DATA_DIR has it: two minutes.
accuracy: install
	$(BIN)/python -m pytest -q -rs --slow tests/integration/test_demo.py -k mnist_error

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CLANG_FORMATTED)
	# By the Python that has no packages: the types of TensorFlow and Keras have gaps.
	$(BIN)/pyright --pythonpath \
		"$$($(BIN)/python -c 'import sys; print(sys._base_executable)')"

format: install
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CLANG_FORMATTED)

# sdist -> wheel from the sdist -> a new environment -> tests from an empty folder: here
# of what needs the files of a wheel; `compat` runs the others on the same wheel.
wheel: install
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --no-isolation --sdist --outdir build/wheel . >build/wheel.log
	KERAS_COMPRESS_REQUIRE_OPS=1 KERAS_COMPRESS_WERROR=1 $(BIN)/python $(PIP) wheel \
		--no-deps --no-build-isolation -w build/wheel build/wheel/*.tar.gz
	$(call ENVIRONMENT,build/wheel/venv,build/wheel/*.whl,available: scalar)
	$(call EMPTY,build/wheel/empty)
	cd build/wheel/empty && ../venv/bin/python -m pytest -n $(WORKERS) -q \
		tests/golden tests/meta tests/kernels/test_library.py \
		$(addprefix tests/integration/test_,cli.py demo.py export.py pack.py)

# A build without a compiler: what may use native ops, in plain TensorFlow.
pure: install
	rm -rf build/pure && mkdir -p build/pure
	$(BIN)/python -m build --no-isolation --sdist --outdir build/pure . >build/pure.log
	CC=/bin/false CXX=/bin/false $(BIN)/python $(PIP) wheel \
		--no-deps --no-build-isolation -w build/pure build/pure/*.tar.gz
	$(call ENVIRONMENT,build/pure/venv,build/pure/*-py3-none-any.whl,not built)
	$(call EMPTY,build/pure/empty)
	cd build/pure/empty && ../venv/bin/python -m pytest -n $(WORKERS) -q -rs \
		tests/unit/test_ops_*.py tests/integration/test_*pack*.py \
		$(addprefix tests/integration/test_,cli.py demo.py every_layer.py export.py)

# The very wheel that `make wheel` built, under the oldest TensorFlow and Keras.
compat: install
	test -f build/wheel/*.whl || $(MAKE) wheel
	test -x $(VENV)-compat/bin/python || $(BIN)/python -m venv $(VENV)-compat
	$(VENV)-compat/bin/python $(PIP) install -c constraints-tf2.18.txt tensorflow keras \
		numpy click tabulate pytest pytest-xdist hypothesis scikit-learn scipy matplotlib
	$(VENV)-compat/bin/python $(PIP) install --no-deps --force-reinstall build/wheel/*.whl
	$(call STATUS,$(VENV)-compat,available: scalar)
	$(call EMPTY,build/compat)
	cd build/compat && $(CURDIR)/$(VENV)-compat/bin/python -m pytest -n $(WORKERS) -q \
		tests/kernels tests/integration tests/unit/test_ops_*.py tests/unit/test_*layers.py

# The level in use is that of all other tests.
levels: install
	levels=$$($(BIN)/python -c 'import keras_compress as kc, re; \
		level, others = re.findall(r": (\w+) \(available: (.*?)\)", kc.native_status())[0]; \
		print(*set(others.split(", ")) - {level})' 2>/dev/null) && \
	for level in $$levels; do \
		echo "KERAS_COMPRESS_SIMD=$$level"; KERAS_COMPRESS_SIMD=$$level \
		$(BIN)/python -m pytest -n $(WORKERS) -q tests/kernels/test_*_kernels.py \
		tests/unit/test_ops_*.py || exit 1; done

sanitize: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/kernels/sanitize.sh

examples: install
	set -e; for file in examples/*.py; do echo "$$file"; \
		$(BIN)/python $$file --smoke; done

benchmarks-smoke: install
	set -e; for file in benchmarks/bench_*.py; do echo "$$file"; \
		$(BIN)/python $$file --smoke; done

clean:
	rm -rf build dist demo denoised *.egg-info $(VENV) $(VENV)-compat
	rm -f keras_compress/ops/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .hypothesis
