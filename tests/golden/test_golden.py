"""Files of every release load for ever, and say what they said."""

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_compress as kc

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/data.npz"))


def test_there_are_golden_files():
    assert FOLDERS


@pytest.mark.parametrize("name", ["pruned", "packed"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_file_of_a_release_says_what_it_said(folder, name):
    data = np.load(folder / "data.npz")
    model = keras.models.load_model(folder / f"{name}.keras")
    outputs = model.predict(data["inputs"], verbose=0)
    np.testing.assert_allclose(outputs, data[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_pruned_file_of_a_release_still_packs(folder):
    data = np.load(folder / "data.npz")
    packed = kc.pack(keras.models.load_model(folder / "pruned.keras"))
    outputs = packed.predict(data["inputs"], verbose=0)
    np.testing.assert_allclose(outputs, data["packed"], rtol=1e-5, atol=1e-6)
