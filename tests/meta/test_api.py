"""The public API is the one in api.txt, documented, and its examples run."""

import ast
import doctest
import importlib
import inspect
import io
import pkgutil
import types
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc

API = Path(__file__).with_name("api.txt")


def exported():
    """Every public object by its name: what the package's modules export."""
    found = {"keras_compress.__version__": kc.__version__}

    def visit(prefix, module):
        for name in meant(module):
            value = getattr(module, name)
            if not isinstance(value, types.ModuleType):
                found[f"{prefix}.{name}"] = value
            elif value is not module:
                visit(f"{prefix}.{name}", value)

    visit("keras_compress", kc)
    # The function of that name hides the room, whose other names are public, too.
    visit("keras_compress.report", importlib.import_module("keras_compress.report"))
    del found["keras_compress.report.report"]
    return found


def meant(module):
    """The names a module exports: `__all__`, `import x as x`, or what it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    if Path(module.__file__).name != "__init__.py":
        return sorted(
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__ and name[0] != "_"
        )
    return sorted(
        alias.asname
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name and alias.name[0] != "_"
    )


def signature(name, value):
    if isinstance(value, str):
        return name
    kind = "class" if inspect.isclass(value) else "def"
    try:
        arguments = str(inspect.signature(value))
    except (TypeError, ValueError):
        arguments = "(...)"
    return f"{kind} {name}{arguments}"


def lines():
    for name, value in exported().items():
        yield signature(name, value)
        if inspect.isclass(value):
            for member in sorted(public_members(value)):
                method = inspect.getattr_static(value, member)
                if isinstance(method, property):
                    yield f"  property {name}.{member}"
                elif inspect.isfunction(method):
                    yield f"  def {name}.{member}{inspect.signature(method)}"


def public_members(value):
    """Names that the package gives to a class, not those that it has from Keras."""
    ours, others = set(), set()
    for parent in value.__mro__:
        is_ours = parent.__module__.startswith("keras_compress")
        (ours if is_ours else others).update(vars(parent))
    return {name for name in ours - others if not name.startswith("_")}


def test_api_is_the_one_written_down(request):
    text = "\n".join(lines()) + "\n"
    if request.config.getoption("--update-api"):
        API.write_text(text)
    assert text == API.read_text(), (
        "the public API changed: run pytest tests/meta --update-api, and give the "
        "change a line in CHANGELOG.md"
    )


@pytest.mark.parametrize("name", exported())
def test_public_name_is_documented(name):
    value = exported()[name]
    if isinstance(value, str):
        return
    text = inspect.getdoc(value) if not inspect.isclass(value) else value.__doc__
    assert text, f"{name} has no docstring"
    # What dataclasses writes by itself is a signature, not a sentence.
    assert not text.startswith(f"{value.__name__}("), f"{name} has no docstring"


def modules():
    for info in pkgutil.walk_packages(kc.__path__, "keras_compress."):
        if not info.name.endswith(("._native", ".__main__")):
            yield info.name


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name, tmp_path):
    module = importlib.import_module(name)
    space = {"np": np, "keras": keras, "tf": tf, "kc": kc, "keras_compress": kc}
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    report = io.StringIO()
    for test in finder.find(module, name):
        keras.utils.set_random_seed(1)
        test.globs = {**vars(module), **space, "tmp_path": tmp_path}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runner.run(test, out=report.write, clear_globs=False)
    assert runner.failures == 0, report.getvalue()
