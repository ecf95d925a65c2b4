"""README, CONTRIBUTING, CHANGELOG: what they show runs, what they name exists."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_compress as kc

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def document(name):
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the tests")
    return path.read_text()


def own_model_and_data():
    """What the code of documents takes for given."""
    random = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(300, activation="relu", name="fc1"),
            keras.layers.Dense(100, activation="relu", name="fc2"),
            keras.layers.Dense(10, activation="softmax", name="fc3"),
        ]
    )
    return {
        "model": model,
        "x_train": random.random((256, 784), "float32"),
        "y_train": random.integers(0, 10, 256),
    }


def test_readme_opens_with_demo_and_test():
    first = document("README.md").split("```")[1]
    assert "make demo" in first
    assert "make test" in first


def test_readme_code_runs(tmp_path, monkeypatch):
    """Every block of Python, one after the other, as one program."""
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(document("README.md"))
    assert len(blocks) >= 2
    space = own_model_and_data()
    for block in blocks:
        exec(compile(block, "README.md", "exec"), space)
    assert (tmp_path / "served" / "saved_model.pb").exists()
    assert isinstance(space["packed"], keras.Model)


PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.skipif(not PAGES, reason="docs are not beside the tests")
@pytest.mark.parametrize("page", PAGES or [None])
def test_code_of_the_docs_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = own_model_and_data()
    for block in BLOCK.findall(document(f"docs/{page}")):
        exec(compile(block, page, "exec"), space)


def test_readme_names_every_layer():
    text = document("README.md")
    layers = [name for name in vars(kc.layers) if name.endswith(("Dense", "Conv2D"))]
    assert layers
    assert [name for name in layers if name not in text] == []


def test_changelog_begins_with_what_is_not_released():
    text = document("CHANGELOG.md")
    assert re.search(r"^## \[?Unreleased\]?\n\n### Added\n", text, re.MULTILINE)


def test_contributing_names_rooms_that_exist():
    text = document("CONTRIBUTING.md")
    package = ROOT / "keras_compress"
    if not package.exists():
        pytest.skip("the sources are not beside the tests")
    names = re.findall(
        r"`((?:functional|layers|ops|csrc|callbacks|report)/[\w/.]*)`", text
    )
    assert names
    missing = [x for x in names if not (package / x).exists() and "<" not in x]
    assert missing == []
