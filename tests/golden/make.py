"""Writes the golden files of the present version: run once, before a release.

    python tests/golden/make.py

A small pruned model, what `pack` makes of it, and what both say of fixed inputs.
"""

import sys
from pathlib import Path

import keras
import numpy as np

import keras_compress as kc


def main():
    """Writes the folder of this version; refuses to write it twice."""
    folder = Path(__file__).parent / kc.__version__
    folder.mkdir()
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2), name="images"),
            keras.layers.Conv2D(12, 3, activation="relu", name="conv"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dropout(0.5, name="drop"),
            keras.layers.Dense(16, activation="relu", name="fc1"),
            keras.layers.Dense(4, activation="softmax", name="fc2"),
        ],
        name="golden",
    )
    pattern = {"conv": kc.Prune(), "fc1": kc.Prune(pattern=(2, 4)), "fc2": kc.Prune()}
    pruned = kc.swap(model, pattern)
    for name in pattern:
        pruned.get_layer(name).prune(sparsity=0.9 if name != "fc2" else 0.2)
    packed = kc.pack(pruned)
    inputs = np.random.default_rng(7).standard_normal((16, 8, 8, 2), "float32")
    pruned.save(folder / "pruned.keras")
    packed.save(folder / "packed.keras")
    np.savez(
        folder / "data.npz",
        inputs=inputs,
        pruned=pruned.predict(inputs, verbose=0),
        packed=packed.predict(inputs, verbose=0),
    )
    print(folder, file=sys.stderr)


if __name__ == "__main__":
    main()
