"""The house: who may import whom, what nobody may, and what every file says."""

import ast
import re
import sys
from pathlib import Path

import pytest

import keras_compress

ROOT = Path(__file__).parents[2]
PACKAGE = Path(keras_compress.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

FLOOR = {"_validation", "version"}
MATHS = FLOOR | {"functional", "schedules", "ops"}
COPIES = {"_copies", "_rebuild", "_neighbours", "_watched"}
PLANS = {
    "_activations",
    "_bit_plan",
    "_channels",
    "_integer_plan",
    "_matching",
    "_shrink",
    "_unfold",
}
PLANS |= {"_criterion", "_evidence", "_layer_kinds", "_shrink_arrays", "_whitening"}
OBJECTS = MATHS | COPIES | PLANS | {"layers"}
DRIVE = OBJECTS | {
    *("callbacks", "distillation", "swap", "pack", "export", "analysis", "report"),
    *("save", "fold", "hardware", "prune", "_pack_compact", "_pack_integers"),
    *("litert", "_litert_checks", "_litert_file", "_litert_layers", "_litert_seams"),
}
MAY_IMPORT = {
    "_validation": set(),
    "version": set(),
    "functional": {"_validation", "functional"},
    "schedules": {"_validation"},
    "ops": {"_validation", "functional", "ops"},
    "_copies": set(),
    "_watched": set(),
    "_rebuild": {"_validation", "_copies"},
    "_neighbours": {"_rebuild"},
    "_bit_plan": {"_layer_kinds", "_rebuild", "_neighbours", "layers"},
    "_integer_plan": {*COPIES, "_layer_kinds", "functional", "layers"},
    "_layer_kinds": {"_copies", "_rebuild", "layers"},
    "_matching": {"_rebuild", "_validation", "layers"},
    "_channels": {"_layer_kinds", "_rebuild", "functional"},
    "_shrink": {"_channels", "_copies", "_rebuild", "_shrink_arrays"},
    "_shrink_arrays": {"_layer_kinds", "layers"},
    "_activations": {"_validation", "_watched"},
    "_unfold": {"_rebuild", "layers"},
    "_evidence": {"_activations", "_validation"},
    "_criterion": {"_evidence", "_validation", "functional"},
    "_whitening": {"_activations", "_rebuild", "functional", "layers"},
    "layers": MATHS | {"layers"},
    **dict.fromkeys(DRIVE - OBJECTS, DRIVE),
    "recipes": DRIVE | {"recipes", ""},
    "_commands": {"layers"},
    "cli": DRIVE | {"recipes", "_commands", "cli", ""},
    "__main__": {"cli"},
    "": DRIVE,
}
# Pure rooms: what they may use of other people's.
MAY_USE = {
    "_validation": set(),
    "version": set(),
    "functional": {"numpy", "keras"},
    "schedules": {"keras"},
}
FORBIDDEN = ("keras.src", "tensorflow.python", "tf.keras", "tensorflow.keras")
MOST_LINES = 300
UNNAMED = {"utils.py", "common.py", "helpers.py", "misc.py", "base.py", "core.py"}


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


def room(path):
    """The part of the house that a file is in; the package's own file is ''."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports(tree):
    """`(line, module)` of every import, names from the package's root included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            if node.module == "keras_compress":
                for name in node.names:
                    yield node.lineno, f"keras_compress.{name.name}"
            else:
                yield node.lineno, node.module or "."


def wrong_imports(path, source):
    """What a file imports that its room may not."""
    here = room(path)
    for line, module in imports(ast.parse(source)):
        parts = module.split(".")
        if parts[0] == "keras_compress":
            there = parts[1] if len(parts) > 1 else ""
            if there not in MAY_IMPORT[here]:
                yield f"{relative(path)}:{line}: {here or 'the package'} -> {module}"
        elif here in MAY_USE and not is_standard(parts[0]):
            if parts[0] not in MAY_USE[here]:
                yield f"{relative(path)}:{line}: {here} uses {module}"


def is_standard(name):
    return name in sys.stdlib_module_names


def forbidden(path, source):
    """Names and statements that no file of the package may have."""
    name = relative(path)
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Assert):
            yield f"{name}:{line}: assert vanishes under python -O; raise an error"
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield f"{name}:{line}: relative import"
            if any(alias.name == "*" for alias in node.names):
                yield f"{name}:{line}: wildcard import"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from private(name, line, full)
        elif isinstance(node, ast.Import):
            yield from private(name, line, [alias.name for alias in node.names])
        elif isinstance(node, ast.Attribute):
            yield from private(name, line, [ast.unparse(node)])


def private(name, line, modules):
    for module in modules:
        if any(module == bad or module.startswith(bad + ".") for bad in FORBIDDEN):
            yield f"{name}:{line}: {module} is not public"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_down_only(path):
    assert room(path) in MAY_IMPORT, f"a new room: give {room(path)!r} its row"
    assert list(wrong_imports(path, path.read_text())) == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_forbidden(path):
    assert list(forbidden(path, path.read_text())) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("functional/masks.py", "import tensorflow as tf"),
        ("functional/masks.py", "from keras_compress.layers import pruned"),
        ("layers/pruned.py", "from keras_compress import callbacks"),
        ("layers/pruned.py", "import keras_compress.swap"),
        ("schedules.py", "from keras_compress import functional"),
        ("_rebuild.py", "from keras_compress.layers.pruned import is_pruned"),
        ("swap.py", "import keras_compress as kc"),
        ("pack.py", "from keras_compress.cli import main"),
        ("report/plots.py", "def f():\n    from keras_compress.recipes import demo"),
        ("_validation.py", "import numpy"),
    ],
)
def test_the_import_check_finds(file, source):
    assert len(list(wrong_imports(PACKAGE / file, source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import keras.src",
        "from keras import src",
        "from keras.src.layers import Dense",
        "from tensorflow.python.ops import x",
        "from tensorflow import keras",
        "import tensorflow as tf\ny = tf.keras.Model",
        "from numpy import *",
        "from . import swap",
        "assert 1",
    ],
)
def test_the_forbidden_check_finds(source):
    assert forbidden_lines(source) >= 1


def forbidden_lines(source):
    return len(list(forbidden(PACKAGE / "swap.py", source)))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_file_says_what_it_is_for(path):
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert text, "a file's docstring is the one sentence of its responsibility"
    assert text.split("\n\n")[0].rstrip().endswith(".")


def test_files_are_short():
    sources = [path for end in ("*.cc", "*.h") for path in PACKAGE.rglob(end)]
    lengths = {
        relative(path): len(path.read_text().splitlines()) for path in FILES + sources
    }
    long = {name for name, length in lengths.items() if length > MOST_LINES}
    assert long == set(), "find the two responsibilities"


def test_no_file_is_named_for_everything():
    assert [relative(path) for path in FILES if path.name in UNNAMED] == []


def test_the_house_is_two_floors_deep():
    deep = [
        relative(path) for path in FILES if len(path.relative_to(PACKAGE).parts) > 3
    ]
    assert deep == []


# Places that only one machine has, and addresses of where packages came from.
PLACES = re.compile(r"/(?:home|root|Users)/|--(?:extra-)?index-url|--find-links")


def tracked_texts():
    suffixes = {".py", ".md", ".toml", ".txt", ".cc", ".h", ".sh", ".map", ".in", ""}
    folders = ("keras_compress", "tests", "examples", "benchmarks", ".ci")
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in suffixes:
                yield path
    yield from (
        path for path in ROOT.iterdir() if path.suffix in {".md", ".txt", ".py"}
    )
    yield from (path for path in (ROOT / "Makefile",) if path.exists())


def test_no_place_that_only_one_machine_has():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked_texts()
        if path != Path(__file__) and "__pycache__" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if PLACES.search(line)
    ]
    assert found == []
